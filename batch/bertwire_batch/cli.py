"""The commands `bertwire score` and `bertwire embed`."""

from collections.abc import Callable
from typing import TypeVar

from bertwire_batch.config import EmbedConfig, JobConfig, ScoreConfig
from bertwire_batch.embed import embed_file
from bertwire_batch.score import score_file
from bertwire_batch.tally import Summary
from bertwire_core.console import err
from bertwire_core.errors import UserError
from bertwire_core.options import command

ConfigT = TypeVar("ConfigT", bound=JobConfig)


def run_score(config: ScoreConfig) -> None:
    """Score every row of files by servers or a bundle and write the files with predictions added.

    A row that fails twice is written with its error, and the exit status is then 1. After a stop, SIGKILL included, the
    same command goes on.
    """
    if config.ray:
        _run_by_ray(config)
        return
    where = f"column {config.prefix + 'error'!r} says why"
    _run(config, score_file, "prediction", where)


def run_embed(config: EmbedConfig) -> None:
    """Write the vector of every row of files, by servers or a bundle whose model gives embeddings, to Parquet files.

    They have the columns row (its number), the text, those of --keep, embedding, truncated and error. A row that fails
    twice is written with its error, and the exit status is then 1. After a stop, SIGKILL included, the same command
    goes on.
    """
    _run(config, embed_file, "vector", "column 'error' says why")


def _run_by_ray(config: ScoreConfig) -> None:
    try:
        from bertwire_batch.ray.job import score_by_ray
    except ModuleNotFoundError as error:
        raise UserError(
            f"--ray needs {error.name}: pip install '.[ray,cpu]' in the folder of bertwire's source"
        ) from None
    written = score_by_ray(config)
    err.print(f"{written.rows:,} rows, {written.failed:,} failed", highlight=False)


def _run(config: ConfigT, job: Callable[[ConfigT], Summary], what: str, where: str) -> None:
    summary = job(config)
    err.print(_line(summary), highlight=False, markup=False, soft_wrap=True)
    if summary.failed:
        if summary.failed == summary.rows:
            raise UserError(f"none of {summary.rows} rows has a {what}; {where}, of the first: {summary.first_error}")
        raise UserError(f"{summary.failed} of {summary.rows} rows have no {what}; {where}")


def _line(summary: Summary) -> str:
    line = (
        f"{summary.rows:,} rows, {summary.failed:,} failed, {summary.seconds:.1f} s, "
        f"{summary.texts_per_second:,.1f} texts/s"
    )
    if not summary.calls:
        return line
    return (
        f"{line}; {summary.calls:,} calls, p50 {summary.latency_p50_ms:.1f} ms, p95 {summary.latency_p95_ms:.1f} ms, "
        f"p99 {summary.latency_p99_ms:.1f} ms; model {summary.model} version {summary.model_version}"
    )


score = command(ScoreConfig, run_score)
embed = command(EmbedConfig, run_embed)
