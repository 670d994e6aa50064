"""Write vectors as Parquet, by pyarrow, which the `parquet` extra brings."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet

from bertwire_data.tables.parquet import ParquetReader
from bertwire_data.tables.rows import Closable, TableReader

# Rows of a group; of 1024 numbers each they take 32 MB. With half as many a file has twice the groups, which readers
# read one by one.
_GROUP_ROWS = 8192

_MODEL = "bertwire.model"


def model_of(table: TableReader) -> str | None:
    """Return the model that the metadata of a file of vectors names; None for any other table."""
    if not isinstance(table, ParquetReader):
        return None
    model: bytes | None = (table.schema.metadata or {}).get(_MODEL.encode())
    return None if model is None else model.decode()


class VectorWriter(Closable):
    """A Parquet file of vectors: `row`, columns of strings, `embedding` (float32), `truncated` and `error`."""

    def __init__(self, path: Path, columns: Sequence[str], dimensions: int, model: str) -> None:
        """Create the file.

        Args:
            path: the file.
            columns: the columns of strings.
            dimensions: numbers of each vector.
            model: the model and how it was asked, which the metadata of the schema has as `bertwire.model`.
        """
        fields = [
            ("row", pyarrow.int64()),
            *((name, pyarrow.string()) for name in columns),
            ("embedding", pyarrow.list_(pyarrow.float32(), dimensions)),
            ("truncated", pyarrow.bool_()),
            ("error", pyarrow.string()),
        ]
        self._schema = pyarrow.schema(fields, metadata={_MODEL: model})
        self._writer = pyarrow.parquet.ParquetWriter(path, self._schema)
        self._waiting: list[pyarrow.RecordBatch] = []
        self._rows = 0

    def write(self, rows: Sequence[dict[str, Any]]) -> None:
        """Write rows; a column that a row lacks is empty."""
        columns = [pyarrow.array([row.get(field.name) for row in rows], field.type) for field in self._schema]
        self._waiting.append(pyarrow.RecordBatch.from_arrays(columns, schema=self._schema))
        self._rows += len(rows)
        if self._rows >= _GROUP_ROWS:
            self._flush()

    def _flush(self) -> None:
        self._writer.write_table(pyarrow.Table.from_batches(self._waiting, self._schema))
        self._waiting.clear()
        self._rows = 0

    def close(self) -> None:
        """Write the last rows and close the file."""
        if self._waiting:
            self._flush()
        self._writer.close()
