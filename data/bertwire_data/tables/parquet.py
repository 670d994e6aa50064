"""Read and write Parquet by pyarrow, which the `parquet` extra brings."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet

from bertwire_core.errors import UserError, first_line
from bertwire_data.tables.rows import Batch, TableReader, TableWriter

# Rows and bytes from which a row group is written. With half as many a file has twice the groups, which readers read
# one by one; with twice as many the writer holds twice the memory.
_GROUP_ROWS = 16_384
_GROUP_BYTES = 32 << 20

_TYPES = {
    str: pyarrow.string(),
    dict: pyarrow.string(),
    list: pyarrow.string(),
    float: pyarrow.float64(),
    bool: pyarrow.bool_(),
    int: pyarrow.int64(),
}


class ParquetReader(TableReader):
    """A Parquet file; `position` counts rows."""

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            self._file = pyarrow.parquet.ParquetFile(path)
        except (pyarrow.ArrowException, OSError) as error:
            raise UserError(f"{path} is not a Parquet file: {first_line(error)}") from error
        self.schema = self._file.schema_arrow
        self.columns: list[str] = list(self.schema.names)
        self.size = self._file.metadata.num_rows
        self._position = 0
        if twice := {name for name in self.columns if self.columns.count(name) > 1}:
            self.close()
            raise UserError(f"{path} names column {min(twice)!r} twice; rename one")

    def batches(self, rows: int) -> Iterator[Batch]:
        """Yield the rows, `rows` at a time."""
        try:
            for arrow in self._file.iter_batches(batch_size=rows):
                values = arrow_rows(arrow)
                yield Batch(self._position + 1, values, [None] * len(values), arrow)
                self._position += len(values)
        except (pyarrow.ArrowException, OSError) as error:
            raise UserError(f"{self._path} cannot be read after row {self._position}: {first_line(error)}") from error

    def position(self) -> int:
        """Return the rows read so far."""
        return self._position

    def writer(self, path: Path, added: dict[str, type]) -> "ParquetWriter":
        """Create a Parquet file for rows of this one, with the same schema and metadata."""
        return ParquetWriter(path, self, added)

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def arrow_rows(table: pyarrow.RecordBatch | pyarrow.Table) -> list[dict[str, Any]]:
    """Return the rows of Arrow columns, each with a value for every column."""
    columns = {name: _values(array) for name, array in zip(table.schema.names, table.columns, strict=True)}
    return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]


def arrow_fields(added: dict[str, type]) -> list[pyarrow.Field]:
    """Return the Arrow fields of added columns."""
    return [pyarrow.field(name, _TYPES[kind]) for name, kind in added.items()]


def arrow_columns(fields: list[pyarrow.Field], added: list[dict[str, Any]]) -> list[pyarrow.Array]:
    """Return the added columns of rows, null where a row has no value."""
    return [pyarrow.array([_plain(row.get(field.name)) for row in added], field.type) for field in fields]


def _values(array: pyarrow.Array | pyarrow.ChunkedArray) -> list[Any]:
    # With pandas at hand pyarrow gives its own kind of timestamp for nanoseconds, without it an error.
    kind = array.type
    if pyarrow.types.is_temporal(kind) and getattr(kind, "unit", "") == "ns":
        array = array.cast(_microseconds(kind), safe=False)
    try:
        values: list[Any] = array.to_pylist()
    except (ValueError, OverflowError):
        return [_value(scalar) for scalar in array]
    return values


def _microseconds(kind: pyarrow.DataType) -> pyarrow.DataType:
    if pyarrow.types.is_timestamp(kind):
        return pyarrow.timestamp("us", kind.tz)
    return pyarrow.duration("us") if pyarrow.types.is_duration(kind) else pyarrow.time64("us")


def _value(scalar: pyarrow.Scalar) -> Any:  # noqa: ANN401 - whatever a column holds
    try:
        return scalar.as_py()
    except UnicodeDecodeError:  # the same form in which CSV gives bytes that are not UTF-8
        buffer = getattr(scalar, "as_buffer", None)
        return buffer().to_pybytes().decode(errors="surrogateescape") if buffer else None
    except (ValueError, OverflowError):  # a moment that Python's datetime cannot hold
        return None


class ParquetWriter(TableWriter):
    """A writer of the rows of a `ParquetReader` with columns added, a row group at a time."""

    def __init__(self, path: Path, like: ParquetReader, added: dict[str, type]) -> None:
        self._added = arrow_fields(added)
        self._schema = pyarrow.schema([*like.schema, *self._added], metadata=like.schema.metadata)
        self._writer = pyarrow.parquet.ParquetWriter(path, self._schema)
        self._waiting: list[pyarrow.RecordBatch] = []
        self._rows = self._bytes = 0

    def write(self, batch: Batch, added: list[dict[str, Any]]) -> None:
        """Collect rows, and write them when a row group is full."""
        columns = arrow_columns(self._added, added)
        self._waiting.append(pyarrow.RecordBatch.from_arrays([*batch.raw.columns, *columns], schema=self._schema))
        self._rows += len(added)
        self._bytes += batch.raw.nbytes
        if self._rows >= _GROUP_ROWS or self._bytes >= _GROUP_BYTES:
            self._flush()

    def _flush(self) -> None:
        self._writer.write_table(pyarrow.Table.from_batches(self._waiting, self._schema))
        self._waiting.clear()
        self._rows = self._bytes = 0

    def close(self) -> None:
        """Write the last row group and close the file."""
        if self._waiting:
            self._flush()
        self._writer.close()


def _plain(value: Any) -> Any:  # noqa: ANN401 - whatever a column holds
    return json.dumps(value, ensure_ascii=False) if isinstance(value, dict | list) else value
