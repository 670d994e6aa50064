"""The job of `bertwire score`: labels, tags or numbers added to rows."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from bertwire_batch.answers import Kept, Text
from bertwire_batch.columns import TEXT_PAIR, Form, choose_form
from bertwire_batch.config import ScoreConfig
from bertwire_batch.earlier import earlier_answers
from bertwire_batch.engines import Engine
from bertwire_batch.inputs import Inputs
from bertwire_batch.job import run_job
from bertwire_batch.tally import Summary
from bertwire_client.replies import ModelInfo
from bertwire_client.requests import Options
from bertwire_core.console import err
from bertwire_core.errors import UserError
from bertwire_data.tables import Batch, TableReader, TableWriter, create_table, require_new


def score_file(config: ScoreConfig) -> Summary:
    """Score files; the output appears when all rows are done, failed ones included.

    Shows progress on standard error. Must not be called inside a running event loop.

    Raises:
        UserError: a file is invalid or nothing can answer; the same call goes on from what was done.
    """
    return run_job(config, _Scoring)


class _Scoring:
    """See `Work`."""

    name = "score"

    def __init__(self, config: ScoreConfig, inputs: Inputs, model: ModelInfo) -> None:
        self._config, self._inputs, self._form = config, inputs, _form(config, inputs, model)
        self.options = {"threshold": config.threshold, "all_scores": config.all_scores}
        self._asked: Options = {
            "top_k": self._form.top_k,
            "model": model.name,
            "model_version": model.version,
            "threshold": config.threshold,
            "priority": config.priority,
        }
        self.texts_and_faults = self._form.texts_and_faults

    def known(self) -> Iterator[tuple[bytes, Kept]]:
        """Return the answers of the earlier output of --only-new."""
        path = self._config.only_new
        return earlier_answers(
            path,
            self._config.sheet,
            self._inputs.folder,
            lambda reader: _require_columns(path, reader, self._form),
            self.texts_and_faults,
            lambda _, row: self._form.kept_of(row),
        )

    async def ask(self, engine: Engine, texts: list[Text]) -> list[Kept]:
        """Return an engine's answers."""
        return self._form.kept_all(await engine.classify(texts, self._asked))

    def output_name(self, name: Path) -> Path:
        """Return the input's name."""
        return name

    @contextmanager
    def writer(self, path: Path, like: TableReader) -> Iterator["_Added"]:
        """Create a table with the added columns."""
        with create_table(path, like, self._form.added_columns()) as writer:
            yield _Added(writer, self._form)


class _Added:
    """A table with columns added."""

    def __init__(self, writer: TableWriter, form: Form) -> None:
        self._writer, self._form = writer, form

    def write(self, batch: Batch, kept: Sequence[Kept]) -> None:
        """Write rows."""
        self._writer.write(batch, [self._form.added_values(each) for each in kept])


def _form(config: ScoreConfig, inputs: Inputs, model: ModelInfo) -> Form:
    try:
        form = choose_form(config, model)
    except ValueError as error:
        raise UserError(str(error)) from None
    if len(form.texts) > 1:
        inputs.require_column(form.texts[1], "--text-pair-column")
    elif any(TEXT_PAIR in (columns or ()) for columns in inputs.columns.values()):
        err.print(f"column {TEXT_PAIR!r} is not read: the model reads single texts", highlight=False, soft_wrap=True)
    for columns in inputs.columns.values():
        require_new(columns, form.added_columns())
    return form


def _require_columns(path: Path | None, earlier: TableReader, form: Form) -> None:
    if earlier.columns is not None and (lacking := form.added_columns().keys() - set(earlier.columns)):
        raise UserError(f"{path} has no column {min(lacking)!r}; --only-new is for an output with the same options")
