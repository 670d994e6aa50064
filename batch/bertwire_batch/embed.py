"""The job of `bertwire embed`: the vectors of texts, written as Parquet."""

from array import array
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bertwire_batch.answers import Kept, Text
from bertwire_batch.columns import text_fault
from bertwire_batch.config import EmbedConfig
from bertwire_batch.earlier import earlier_answers
from bertwire_batch.engines import Engine
from bertwire_batch.inputs import Inputs
from bertwire_batch.job import run_job
from bertwire_batch.tally import Summary
from bertwire_client.replies import ModelInfo
from bertwire_client.requests import EmbedOptions
from bertwire_core.errors import UserError
from bertwire_data.tables import Batch, TableReader, plain_name

if TYPE_CHECKING:
    from bertwire_data.tables.vectors import VectorWriter


def embed_file(config: EmbedConfig) -> Summary:
    """Embed files; the output appears when all rows are done, failed ones included.

    Shows progress on standard error. Must not be called inside a running event loop.

    Raises:
        UserError: a file is invalid, nothing can answer or the model gives no vectors; the same call goes on from what
            was done.
    """
    return run_job(config, _Embedding)


class _Embedding:
    """See `Work`."""

    name = "embed"

    def __init__(self, config: EmbedConfig, inputs: Inputs, model: ModelInfo) -> None:
        self._config, self._inputs = config, inputs
        for column in config.keep:
            inputs.require_column(column, "--keep")
        self._column, self._kept = config.text_column, list(dict.fromkeys([*config.keep, config.text_column]))
        self._dimensions, self._model = _dimensions(config, model), _made_by(config, model)
        self.options = {"dimensions": self._dimensions, "normalize": config.normalize}
        self._asked: EmbedOptions = {
            "dimensions": self._dimensions,
            "normalize": config.normalize,
            "model": model.name,
            "model_version": model.version,
            "priority": config.priority,
        }

    def known(self) -> Iterator[tuple[bytes, Kept]]:
        """Return the vectors of the earlier output of --only-new."""
        path, sheet, folder = self._config.only_new, self._config.sheet, self._inputs.folder
        return earlier_answers(path, sheet, folder, self._require_vectors, self.texts_and_faults, self._kept_of)

    def _require_vectors(self, earlier: TableReader) -> None:
        if lacking := {self._column, "embedding", "truncated", "error"} - set(earlier.columns or []):
            raise UserError(
                f"{self._config.only_new} has no column {min(lacking)!r}; --only-new is for an output of the same "
                "options"
            )

    def _kept_of(self, earlier: TableReader, row: dict[str, Any]) -> bytes | None:
        """Return what to keep of the vector of a row; None where it was made otherwise."""
        from bertwire_data.tables.vectors import model_of

        vector = row["embedding"]
        if model_of(earlier) != self._model or vector is None or len(vector) != self._dimensions:
            return None
        try:
            return _packed(vector, row["truncated"])
        except TypeError:
            raise ValueError("'embedding' or 'truncated' is not what bertwire embed writes") from None

    def texts_and_faults(self, batch: Batch) -> tuple[list[Text], list[str | None]]:
        """Return the texts of a batch, and per row why it has none, or None."""
        rows = list(zip(batch.rows, batch.errors, strict=True))
        faults = [error or text_fault(row, self._column) for row, error in rows]
        return [row[self._column] for (row, _), fault in zip(rows, faults, strict=True) if fault is None], faults

    async def ask(self, engine: Engine, texts: list[Text]) -> list[Kept]:
        """Return an engine's answers."""
        outcomes = await engine.embed(list(map(str, texts)), self._asked)
        return [
            (None, each) if isinstance(each, str) else (_packed(each.vector, each.truncated), None) for each in outcomes
        ]

    def output_name(self, name: Path) -> Path:
        """Return the input's name with the ending of Parquet."""
        return name.with_name(f"{plain_name(name).name}.parquet")

    @contextmanager
    def writer(self, path: Path, like: TableReader) -> Iterator["_Vectors"]:  # noqa: ARG002 - the interface's
        """Create a Parquet file of vectors."""
        from bertwire_data.tables.vectors import VectorWriter

        with VectorWriter(path, self._kept, self._dimensions, self._model) as writer:
            yield _Vectors(writer, self._kept)


class _Vectors:
    """A table of vectors."""

    def __init__(self, writer: "VectorWriter", columns: list[str]) -> None:
        self._writer, self._columns = writer, columns

    def write(self, batch: Batch, kept: Sequence[Kept]) -> None:
        """Write rows."""
        rows = enumerate(zip(batch.rows, kept, strict=True), batch.start)
        self._writer.write([{"row": at} | _strings(row, self._columns) | _values(each) for at, (row, each) in rows])


def _dimensions(config: EmbedConfig, model: ModelInfo) -> int:
    if not model.dimensions:
        raise UserError(
            f"model {model.name} gives no embeddings but is one of {model.task}; use bertwire score, serve an encoder "
            "(bertwire export minilm), or export the classifier with --vectors"
        )
    if config.dimensions is not None and config.dimensions > model.dimensions:
        raise UserError(f"--dimensions {config.dimensions} is above the {model.dimensions} of model {model.name}")
    return config.dimensions or model.dimensions


def _made_by(config: EmbedConfig, model: ModelInfo) -> str:
    """Return what the output says of its vectors, by which --only-new tells those that are the same."""
    return f"{model.name}/{model.version}{' normalize' if config.normalize else ''}"


def _strings(row: dict[str, Any], columns: list[str]) -> dict[str, str | None]:
    values = {name: row.get(name) for name in columns}
    return {name: None if value is None else _encodable(str(value)) for name, value in values.items()}


def _encodable(text: str) -> str:
    # Of bytes that were not UTF-8 the reader made lone surrogates, which Parquet cannot hold.
    return text.encode(errors="backslashreplace").decode()


def _packed(vector: Iterable[float], truncated: bool) -> bytes:
    """Return a vector as float32, after a byte that says whether the text was cut."""
    return bytes([truncated]) + array("f", vector).tobytes()


def _values(kept: Kept) -> dict[str, Any]:
    value, error = kept
    if not isinstance(value, bytes):
        return {"error": error}
    return {"embedding": array("f", value[1:]), "truncated": bool(value[0])}
