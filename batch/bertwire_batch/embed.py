"""The job of `bertwire embed`: the vectors of texts, written as Parquet."""

from array import array
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bertwire_batch.answers import Kept, Text
from bertwire_batch.columns import text_fault
from bertwire_batch.config import EmbedConfig
from bertwire_batch.engines import Engine
from bertwire_batch.inputs import Inputs
from bertwire_batch.job import run_job
from bertwire_batch.tally import Summary
from bertwire_client.replies import Embedding, ModelInfo
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
        for column in config.keep:
            inputs.require_column(column, "--keep")
        self._column, self._kept = config.text_column, list(dict.fromkeys([*config.keep, config.text_column]))
        self._dimensions, self._model = _dimensions(config, model), f"{model.name}/{model.version}"
        self.options = {"dimensions": self._dimensions, "normalize": config.normalize}
        self._asked: EmbedOptions = {
            "dimensions": self._dimensions,
            "normalize": config.normalize,
            "model": model.name,
            "model_version": model.version,
            "priority": config.priority,
        }

    def known(self) -> Iterator[tuple[bytes, Kept]]:
        """Yield nothing."""
        return iter(())

    def texts_and_faults(self, batch: Batch) -> tuple[list[Text], list[str | None]]:
        """Return the texts of a batch, and per row why it has none, or None."""
        rows = list(zip(batch.rows, batch.errors, strict=True))
        faults = [error or text_fault(row, self._column) for row, error in rows]
        return [row[self._column] for (row, _), fault in zip(rows, faults, strict=True) if fault is None], faults

    async def ask(self, engine: Engine, texts: list[Text]) -> list[Kept]:
        """Return an engine's answers."""
        outcomes = await engine.embed(list(map(str, texts)), self._asked)
        return [(None, each) if isinstance(each, str) else (_packed(each), None) for each in outcomes]

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


def _strings(row: dict[str, Any], columns: list[str]) -> dict[str, str | None]:
    values = {name: row.get(name) for name in columns}
    return {name: None if value is None else _encodable(str(value)) for name, value in values.items()}


def _encodable(text: str) -> str:
    # Of bytes that were not UTF-8 the reader made lone surrogates, which Parquet cannot hold.
    return text.encode(errors="backslashreplace").decode()


def _packed(found: Embedding) -> bytes:
    """Return a vector as float32, after a byte that says whether the text was cut."""
    return bytes([found.truncated]) + array("f", found.vector).tobytes()


def _values(kept: Kept) -> dict[str, Any]:
    value, error = kept
    if not isinstance(value, bytes):
        return {"error": error}
    return {"embedding": array("f", value[1:]), "truncated": bool(value[0])}
