"""Chooses the reader and the writer by a file's ending."""

from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, Self

from bertwire_client.errors import UserError
from bertwire_client.tables.delimited import DelimitedReader, DelimitedWriter
from bertwire_client.tables.jsonl import JsonlReader, JsonlWriter
from bertwire_client.tables.parquet import ParquetReader, ParquetWriter
from bertwire_client.tables.rows import Batch


class TableReader(Protocol):
    """An open table.

    Attributes:
        columns: the columns in file order; None where rows may each have their own (JSONL).
        size: the file's size in the unit of `position`.
    """

    columns: list[str] | None
    size: int

    def batches(self, rows: int) -> Iterator[Batch]:
        """Yields the table's rows, `rows` at a time."""
        ...

    def position(self) -> int:
        """How much has been read, between 0 and `size`."""
        ...

    def close(self) -> None:
        """Closes the file."""
        ...


class TableWriter(Protocol):
    """A table being written: the rows of another table of the same format with columns added."""

    def write(self, batch: Batch, added: list[dict[str, Any]]) -> None:
        """Writes the rows of `batch`, each with its added values; a column that a row lacks is empty."""
        ...

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None: ...


_FORMATS = {".csv": ",", ".tsv": "\t", ".jsonl": "jsonl", ".ndjson": "jsonl", ".parquet": "parquet"}


def open_table(path: Path) -> TableReader:
    """Opens a CSV, TSV, JSONL or Parquet file; raises `UserError` where it is missing, empty or of another kind."""
    kind = _kind(path)
    if not path.is_file():
        raise UserError(f"{path}: no such file")
    if path.stat().st_size == 0:
        raise UserError(f"{path} is empty")
    if kind == "jsonl":
        return JsonlReader(path)
    if kind == "parquet":
        return ParquetReader(path)
    return DelimitedReader(path, kind)


def create_table(path: Path, like: TableReader, added: dict[str, type]) -> TableWriter:
    """Creates a table of the format of `like` at `path`, whatever its ending.

    Args:
        path: the file to write.
        like: the table whose rows will be written.
        added: the added columns with the type of their values: str, float, bool or int.

    Raises:
        UserError: an added column has the name of a column of `like`.
    """
    if twice := sorted(set(added) & set(like.columns or [])):
        raise UserError(f"the input has a column {twice[0]!r} already; choose another --prefix or rename that column")
    if isinstance(like, JsonlReader):
        return JsonlWriter(path, list(added))
    if isinstance(like, ParquetReader):
        return ParquetWriter(path, like, added)
    assert isinstance(like, DelimitedReader)  # noqa: S101 - the readers are closed under open_table
    return DelimitedWriter(path, like, list(added))


def table_format(path: Path) -> str:
    """The name of a table's format: CSV, TSV, JSONL or Parquet; raises `UserError` for another ending."""
    return {",": "CSV", "\t": "TSV", "jsonl": "JSONL", "parquet": "Parquet"}[_kind(path)]


def _kind(path: Path) -> str:
    try:
        return _FORMATS[path.suffix.lower()]
    except KeyError:
        raise UserError(f"{path}: cannot tell the format; the name must end in {', '.join(_FORMATS)}") from None
