"""The vectors of a file's texts, written as Parquet."""

from dataclasses import dataclass
from typing import Any

from bertwire_batch.caller import Caller
from bertwire_batch.columns import Text, text_fault
from bertwire_batch.config import EmbedConfig
from bertwire_batch.job import Job, require_column, run_job, run_rows
from bertwire_batch.tally import Summary
from bertwire_client.replies import Embedding, ModelInfo
from bertwire_client.requests import EmbedOptions
from bertwire_core.errors import UserError
from bertwire_data.tables import Batch


def embed_file(config: EmbedConfig) -> Summary:
    """Embed a file; the output appears when all rows are done, failed ones included.

    Shows progress on standard error. Must not be called inside a running event loop.

    Raises:
        UserError: a file is invalid, the server cannot be used or its model gives no vectors; no output is left.
    """
    return run_job(config, "embed", _embed)


@dataclass(frozen=True, slots=True)
class _Column:
    """The column of the texts."""

    name: str

    def texts_and_faults(self, batch: Batch) -> tuple[list[Text], list[str | None]]:
        """Return the texts of a batch, and per row why it has none, or None."""
        rows = list(zip(batch.rows, batch.errors, strict=True))
        faults = [error or text_fault(row, self.name) for row, error in rows]
        return [row[self.name] for (row, _), fault in zip(rows, faults, strict=True) if fault is None], faults


async def _embed(config: EmbedConfig, caller: Caller, job: Job) -> None:
    from bertwire_data.tables.vectors import VectorWriter

    for column in config.keep:
        require_column(config, job.reader, column, "--keep")
    dimensions = _dimensions(config, await caller.model(config.model, config.model_version))
    options: EmbedOptions = {
        "dimensions": dimensions,
        "normalize": config.normalize,
        "model": config.model,
        "model_version": config.model_version,
        "priority": config.priority,
    }
    kept = list(dict.fromkeys([*config.keep, config.text_column]))
    with VectorWriter(job.output, kept, dimensions) as writer:

        def write(batch: Batch, outcomes: list[Embedding | str]) -> None:
            rows = enumerate(zip(batch.rows, outcomes, strict=True), batch.start)
            writer.write([{"row": at} | _kept(row, kept) | _values(outcome) for at, (row, outcome) in rows])

        await run_rows(
            config, job, _Column(config.text_column), lambda texts: caller.embed(list(map(str, texts)), options), write
        )


def _dimensions(config: EmbedConfig, model: ModelInfo) -> int:
    if not model.dimensions:
        raise UserError(f"model {model.name} gives no embeddings but is one of {model.task}; use bertwire score")
    if config.dimensions is not None and config.dimensions > model.dimensions:
        raise UserError(f"--dimensions {config.dimensions} is above the {model.dimensions} of model {model.name}")
    return config.dimensions or model.dimensions


def _kept(row: dict[str, Any], columns: list[str]) -> dict[str, str | None]:
    values = {name: row.get(name) for name in columns}
    return {name: None if value is None else _encodable(str(value)) for name, value in values.items()}


def _encodable(text: str) -> str:
    # Of bytes that were not UTF-8 the reader made lone surrogates, which Parquet cannot hold.
    return text.encode(errors="backslashreplace").decode()


def _values(outcome: Embedding | str) -> dict[str, Any]:
    if isinstance(outcome, str):
        return {"error": outcome}
    return {"embedding": outcome.vector, "truncated": outcome.truncated}
