"""Parquet by pyarrow, which the `parquet` extra brings."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from bertwire_client.errors import UserError
from bertwire_client.tables.rows import Batch

if TYPE_CHECKING:
    import pyarrow

# Rows of one row group written: a few calls' worth would make files that are slow to read.
_GROUP_ROWS = 16_384


class ParquetReader:
    """A Parquet file; `position` counts rows."""

    def __init__(self, path: Path) -> None:
        import pyarrow
        import pyarrow.parquet

        try:
            self._file = pyarrow.parquet.ParquetFile(path)
        except pyarrow.ArrowInvalid as error:
            raise UserError(f"{path} is not a Parquet file: {error}") from error
        self.path = path
        self.schema: pyarrow.Schema = self._file.schema_arrow
        self.columns: list[str] | None = list(self.schema.names)
        self.size: int = self._file.metadata.num_rows
        self._position = 0

    def batches(self, rows: int) -> Iterator[Batch]:
        """Yields the rows, `rows` at a time."""
        for arrow in self._file.iter_batches(batch_size=rows):
            values = arrow.to_pylist()
            yield Batch(self._position + 1, values, [None] * len(values), arrow)
            self._position += len(values)

    def position(self) -> int:
        """Rows read so far."""
        return self._position

    def close(self) -> None:
        """Closes the file."""
        self._file.close()


class ParquetWriter:
    """Writes the rows of a `ParquetReader` with columns added."""

    def __init__(self, path: Path, like: ParquetReader, added: dict[str, type]) -> None:
        import pyarrow
        import pyarrow.parquet

        types = {str: pyarrow.string(), float: pyarrow.float64(), bool: pyarrow.bool_(), int: pyarrow.int64()}
        self._added = [pyarrow.field(name, types[kind]) for name, kind in added.items()]
        self._schema = pyarrow.schema([*like.schema, *self._added], metadata=like.schema.metadata)
        self._writer = pyarrow.parquet.ParquetWriter(path, self._schema)
        self._waiting: list[pyarrow.RecordBatch] = []

    def write(self, batch: Batch, added: list[dict[str, Any]]) -> None:
        """Takes rows; they reach the file a row group at a time."""
        import pyarrow

        columns = [pyarrow.array([row.get(field.name) for row in added], field.type) for field in self._added]
        arrays = [*batch.raw.columns, *columns]
        self._waiting.append(pyarrow.RecordBatch.from_arrays(arrays, schema=self._schema))
        if sum(rows.num_rows for rows in self._waiting) >= _GROUP_ROWS:
            self._flush()

    def _flush(self) -> None:
        import pyarrow

        if self._waiting:
            self._writer.write_table(pyarrow.Table.from_batches(self._waiting, self._schema), _GROUP_ROWS)
            self._waiting.clear()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self._flush()
        self._writer.close()
