"""The outputs of a job, once all its texts are answered."""

import json
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from types import TracebackType
from typing import Self

from bertwire_batch.answers import Answers, Kept, key_of
from bertwire_batch.config import JobConfig
from bertwire_batch.inputs import ROWS, Inputs
from bertwire_batch.places import Places, staged, whole
from bertwire_batch.sources import Source
from bertwire_batch.tally import Summary, Tally
from bertwire_batch.work import Work
from bertwire_client.replies import ModelInfo
from bertwire_core.console import progress
from bertwire_core.errors import UserError
from bertwire_core.files import whole_file
from bertwire_data.tables import Batch, TableReader, TableWriter, create_table


def write_output(
    config: JobConfig, inputs: Inputs, work: Work, answers: Answers, tally: Tally, model: ModelInfo
) -> Summary:
    """Write the output, the rows that failed and the summary; each appears whole.

    Raises:
        UserError: an input has changed since it was read.
    """
    with ExitStack() as stack:
        many, scratch = config.many, inputs.folder
        scratch.mkdir(exist_ok=True)
        output = Places(stack, config.output, staged(config.output, scratch / "output", many=many), scratch, many=many)
        errors = None
        if config.errors is not None:
            errors = Places(stack, config.errors, whole(config.errors, many=many), scratch, many=many)
        faultless: list[Path] = []
        bar = stack.enter_context(progress("write", inputs.size))
        for source in inputs.sources:
            with (
                inputs.open(source) as reader,
                output.file(work.output_name(source.name)) as path,
                work.writer(path, reader) as writer,
                _Failed(errors, source, reader) as failed,
            ):
                for batch in reader.batches(ROWS):
                    kept = _kept(work, answers, batch, source)
                    writer.write(batch, kept)
                    failed.write(batch, kept)
                    tally.written([error for _, error in kept])
                    bar(inputs.position(source, reader))
                if not failed.any:
                    faultless.append(source.name)
        summary = tally.summary(model)
        if config.summary is not None:
            place = stack.enter_context(whole_file(config.summary))
            place.write_text(json.dumps(asdict(summary), indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
        answers.mark_written([str(path.absolute()) for path in config.outputs])
    _remove_earlier(config, faultless)
    return summary


def _kept(work: Work, answers: Answers, batch: Batch, source: Source) -> list[Kept]:
    """Return of each row what is kept of its text, or why it has none."""
    texts, faults = work.texts_and_faults(batch)
    keys = list(map(key_of, texts))
    found, left = answers.find(keys), iter(keys)
    try:
        return [found[next(left)] if fault is None else (None, fault) for fault in faults]
    except KeyError:
        raise UserError(f"{source.path} has changed since it was read; run the command again") from None


class _Failed:
    """The rows of an input that failed, written as they were read; no file where there are none.

    Attributes:
        any: whether a row failed.
    """

    def __init__(self, places: Places | None, source: Source, like: TableReader) -> None:
        self._places, self._source, self._like = places, source, like
        self._stack = ExitStack()
        self._writer: TableWriter | None = None
        self.any = False

    def write(self, batch: Batch, kept: Sequence[Kept]) -> None:
        """Write those rows of a batch that failed."""
        failed = [place for place, (_, error) in enumerate(kept) if error is not None]
        self.any = self.any or bool(failed)
        if self._places is None or not failed:
            return
        if self._writer is None:
            path = self._stack.enter_context(self._places.file(self._source.name))
            self._writer = self._stack.enter_context(create_table(path, self._like, {}))
        self._writer.write(batch.only(failed), [{} for _ in failed])

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.__exit__(kind, value, trace)


def _remove_earlier(config: JobConfig, faultless: list[Path]) -> None:
    """Remove the failed rows of an earlier output for the inputs of which no row failed now."""
    if config.errors is None:
        return
    for name in faultless:
        (config.errors / name if config.many else config.errors).unlink(missing_ok=True)
