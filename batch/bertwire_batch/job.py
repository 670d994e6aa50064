"""A job over files: first the answers to all texts, kept on disk; then the output, in one pass over the rows."""

import asyncio
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import chain, islice
from pathlib import Path
from typing import TypeVar

from bertwire_batch.answers import Answers, Kept, Text, key_of, read_unfinished, told_if_unusable
from bertwire_batch.config import JobConfig
from bertwire_batch.engines import Engine, opened_engines
from bertwire_batch.estimate import Estimate
from bertwire_batch.inputs import Inputs
from bertwire_batch.outputs import require_free, require_inputs_kept, require_names
from bertwire_batch.pool import Chunk, answer_chunks
from bertwire_batch.sources import find_sources
from bertwire_batch.tally import Summary, Tally
from bertwire_batch.wakeup import woken_by_signals
from bertwire_batch.work import Work
from bertwire_batch.write import write_output
from bertwire_client.replies import ModelInfo
from bertwire_core.console import err, progress
from bertwire_core.disk import told_if_full
from bertwire_core.errors import UserError
from bertwire_core.files import in_use, partial_path

ConfigT = TypeVar("ConfigT", bound=JobConfig)
Begin = Callable[[ConfigT, Inputs, ModelInfo], Work]

_ANSWERS, _FILES = "answers.sqlite", "files"
_OWN = {_ANSWERS, f"{_ANSWERS}-journal", _FILES}


def run_job(config: ConfigT, begin: Begin[ConfigT]) -> Summary:
    """Run a job, or go on with one that was stopped.

    Args:
        config: its settings.
        begin: returns what the job does; raises `UserError` where the inputs or the model do not fit.

    Raises:
        UserError: a file is invalid or nothing can answer. What was answered is kept in OUTPUT.partial.
    """
    folder, tally = partial_path(config.output), Tally()
    with in_use(config.output), told_if_full(config.output), _kept_if_filled(folder):
        require_free(config, read_unfinished(folder / _ANSWERS))
        sources = find_sources(config.inputs, config.format)
        require_inputs_kept(config, sources)
        inputs = Inputs(sources, config.format, config.sheet, config.text_column, folder / _FILES)
        inputs.look()
        inputs.require_column(config.text_column, "--text-column")
        try:
            return asyncio.run(_run(config, inputs, folder / _ANSWERS, tally, begin))
        except BaseException:
            if tally.texts:
                _print(f"{folder} keeps what was done; the same command goes on")
            raise


@contextmanager
def _kept_if_filled(folder: Path) -> Iterator[None]:
    """Make the folder of an unfinished job, and remove it after the block unless that fails and has answers."""
    if folder.exists() and not (folder.is_dir() and {each.name for each in folder.iterdir()} <= _OWN):
        raise UserError(f"{folder} is in the way and is no unfinished run's; move it or choose another output")
    folder.mkdir(exist_ok=True)
    try:
        shutil.rmtree(folder / _FILES, ignore_errors=True)
        yield
    except BaseException:
        shutil.rmtree(folder / _FILES, ignore_errors=True)
        before = read_unfinished(folder / _ANSWERS)
        if before is None or not (before.filled or before.written):
            shutil.rmtree(folder)
        raise
    shutil.rmtree(folder)


async def _run(config: ConfigT, inputs: Inputs, path: Path, tally: Tally, begin: Begin[ConfigT]) -> Summary:
    with woken_by_signals():
        before = read_unfinished(path)
        async with opened_engines(config, before, tally) as (model, engines):
            work = begin(config, inputs, model)
            names = [source.name for source in inputs.sources]
            require_names(config, list(map(work.output_name, names)), names)
            about = {
                "job": work.name,
                "model": model.name,
                "version": model.version,
                "bundle": engines[0].sha256,
                **work.options,
            }
            with told_if_unusable(path), Answers(path, about) as answers:
                if before is not None:
                    _print(f"going on with {answers.count():,} texts that are answered already")
                answers.add(work.known())
                await _answer(config, inputs, work, answers, engines, tally)
                # A text that failed is tried once more, after all others.
                if answers.forget_errors():
                    await _answer(config, inputs, work, answers, engines, tally)
                return write_output(config, inputs, work, answers, tally, model)


async def _answer(
    config: JobConfig, inputs: Inputs, work: Work, answers: Answers, engines: list[Engine], tally: Tally
) -> None:
    sent: set[bytes] = set()
    at = 0.0

    def note(position: float) -> None:
        nonlocal at
        at = position

    chunks = _chunks(_unanswered(inputs, work, answers, sent, note), config.batch_size)
    # Reads over the rows that are answered already, which say nothing of how long the others take.
    first = list(islice(chunks, 1))
    start, estimate = at, Estimate(inputs.rows, inputs.size)
    with progress(work.name, inputs.size - start) as bar:

        def keep(chunk: Chunk, kept: list[Kept]) -> None:
            keys = [key for key, _ in chunk]
            answers.add(zip(keys, kept, strict=True))
            sent.difference_update(keys)
            bar(at - start, tally.note())
            if line := estimate.line(at):
                _print(line)

        await answer_chunks(chain(first, chunks), engines, work.ask, keep)


def _unanswered(
    inputs: Inputs, work: Work, answers: Answers, sent: set[bytes], note: Callable[[float], None]
) -> Iterator[tuple[bytes, Text]]:
    """Yield each text that has no answer, with its key, once; add the keys to `sent`."""
    for _, batch, position in inputs.batches():
        texts, _ = work.texts_and_faults(batch)
        keyed = [(key_of(text), text) for text in texts]
        known = sent | answers.find([key for key, _ in keyed]).keys()
        for key, text in keyed:
            if key not in known:
                known.add(key)
                sent.add(key)
                yield key, text
        note(position)


def _chunks(items: Iterator[tuple[bytes, Text]], size: int) -> Iterator[Chunk]:
    # A chunk is kept whole or not at all, so that a run that goes on makes the same chunks of what is left, of which a
    # bundle makes the same batches and digits.
    while chunk := list(islice(items, size)):
        yield chunk


def _print(line: str) -> None:
    err.print(line, markup=False, highlight=False, soft_wrap=True)
