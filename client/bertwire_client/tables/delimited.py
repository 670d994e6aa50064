"""CSV and TSV by the standard library, every value a string."""

import csv
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from bertwire_client.errors import UserError
from bertwire_client.tables.rows import Batch, chunks

# One field may hold a long document; the standard limit of 128 KiB is for guarding against broken quotes.
csv.field_size_limit(64 << 20)

# Bytes that are not UTF-8 travel through as lone surrogates, so that the row can be reported and given back as it was.
_TEXT = {"encoding": "utf-8", "errors": "surrogateescape", "newline": ""}


class DelimitedReader:
    """A CSV or TSV file with a header line; a byte order mark is skipped."""

    def __init__(self, path: Path, delimiter: str) -> None:
        self.path, self.delimiter = path, delimiter
        self.size = path.stat().st_size
        self._file = path.open(**_TEXT)  # type: ignore[call-overload]
        if self._file.read(1) != "\ufeff":
            self._file.seek(0)
        self._reader = csv.reader(self._file, delimiter=delimiter)
        self.columns: list[str] | None = self._header()

    def _header(self) -> list[str]:
        columns = next(self._reader, [])
        if not columns or columns == [""]:
            raise UserError(f"{self.path} is empty; its first line must name the columns")
        if twice := {name for name in columns if columns.count(name) > 1}:
            raise UserError(f"{self.path} names column {min(twice)!r} twice; rename one")
        return columns

    def batches(self, rows: int) -> Iterator[Batch]:
        """Yields the rows, `rows` at a time; lines with nothing on them are no rows."""
        columns = self.columns or []
        start = 1
        for lines in chunks(self._lines(), rows):
            values = [dict(zip(columns, line, strict=False)) for line in lines]
            yield Batch(start, values, [_fault(line, len(columns)) for line in lines], lines)
            start += len(lines)

    def _lines(self) -> Iterator[list[str]]:
        try:
            yield from (line for line in self._reader if line)
        except csv.Error as error:
            raise UserError(f"{self.path} line {self._reader.line_num}: {error}") from error

    def position(self) -> int:
        """Bytes read from disk so far."""
        return int(self._file.buffer.tell())

    def close(self) -> None:
        """Closes the file."""
        self._file.close()


def _fault(line: list[str], columns: int) -> str | None:
    if len(line) < columns:
        return f"the row has {len(line)} fields where the header has {columns}"
    if len(line) > columns:
        return f"the row has {len(line)} fields where the header has {columns}; left over: {line[columns:]}"
    return None


class DelimitedWriter:
    """Writes the rows of a `DelimitedReader` with columns added."""

    def __init__(self, path: Path, like: DelimitedReader, added: list[str]) -> None:
        self._file = path.open("w", **_TEXT)  # type: ignore[call-overload]
        self._columns, self._added = like.columns or [], added
        self._writer = csv.writer(self._file, delimiter=like.delimiter, lineterminator="\n")
        self._writer.writerow(self._columns + added)

    def write(self, batch: Batch, added: list[dict[str, Any]]) -> None:
        """Writes rows; a short row is filled up, so that the added values stand under their names."""
        width = len(self._columns)
        for line, values in zip(batch.raw, added, strict=True):
            fields = (line + [""] * width)[:width]
            self._writer.writerow(fields + [_plain(values.get(name)) for name in self._added])

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()


def _plain(value: Any) -> str:  # noqa: ANN401 - whatever a column holds
    if value is None:
        return ""
    return str(value).lower() if isinstance(value, bool) else str(value)
