"""CSV and TSV by the standard library, every value a string."""

import csv
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal, TextIO

from bertwire_client.errors import UserError
from bertwire_client.tables.rows import Batch, TableReader, TableWriter, chunks

# One field may hold a long document; the standard limit of 128 KiB is for guarding against broken quotes.
csv.field_size_limit(64 << 20)


def _open(path: Path, mode: Literal["r", "w"]) -> TextIO:
    # Bytes that are not UTF-8 travel through as lone surrogates, so that the row can be reported and given back as it
    # was; line ends stay as they are, for a quoted field may hold them.
    return path.open(mode, encoding="utf-8", errors="surrogateescape", newline="")


class DelimitedReader(TableReader):
    """A CSV or TSV file with a header line; a byte order mark is skipped."""

    def __init__(self, path: Path, delimiter: str) -> None:
        self.path, self.delimiter = path, delimiter
        self.size = path.stat().st_size
        self._file = _open(path, "r")
        try:
            self.header = self._header()
        except BaseException:
            self._file.close()
            raise
        self.columns = self.header

    def _header(self) -> list[str]:
        if self._file.read(1) != "\ufeff":
            self._file.seek(0)
        self._reader = csv.reader(self._file, delimiter=self.delimiter)
        header = next(self._lines(), [""])
        if header == [""]:
            raise UserError(f"{self.path} is empty; its first line must name the columns")
        if twice := {name for name in header if header.count(name) > 1}:
            raise UserError(f"{self.path} names column {min(twice)!r} twice; rename one")
        return header

    def batches(self, rows: int) -> Iterator[Batch]:
        """Yields the rows, `rows` at a time; lines with nothing on them are no rows."""
        start = 1
        for lines in chunks(self._lines(), rows):
            values: list[dict[str, Any]] = [dict(zip(self.header, line, strict=False)) for line in lines]
            yield Batch(start, values, [_fault(line, len(self.header)) for line in lines], lines)
            start += len(lines)

    def _lines(self) -> Iterator[list[str]]:
        try:
            yield from (line for line in self._reader if line)
        except csv.Error as error:
            raise UserError(f"{self.path} line {self._reader.line_num}: {error}") from error

    def position(self) -> int:
        """Bytes read from disk so far."""
        return self._file.buffer.tell()

    def writer(self, path: Path, added: dict[str, type]) -> "DelimitedWriter":
        """Creates a file with the same delimiter for rows of this one."""
        return DelimitedWriter(path, self, list(added))

    def close(self) -> None:
        """Closes the file."""
        self._file.close()


def _fault(line: list[str], columns: int) -> str | None:
    if len(line) == columns:
        return None
    left_over = f"; left over: {line[columns:]}" if len(line) > columns else ""
    return f"the row has {len(line)} fields where the header has {columns}{left_over}"


class _LineFeeds:
    """Turns the line end of each row, which the csv module writes in one go, into a line feed."""

    def __init__(self, file: TextIO) -> None:
        self._file = file

    def write(self, row: str) -> int:
        return self._file.write(row.removesuffix("\r\n") + "\n")


class DelimitedWriter(TableWriter):
    """Writes the rows of a `DelimitedReader` with columns added, every line ended by a line feed."""

    def __init__(self, path: Path, like: DelimitedReader, added: list[str]) -> None:
        self._file = _open(path, "w")
        self._width, self._added = len(like.header), added
        # Before Python 3.13 the csv module quotes a carriage return only where the line end has one.
        self._writer = csv.writer(_LineFeeds(self._file), delimiter=like.delimiter, lineterminator="\r\n")
        self._writer.writerow(like.header + added)

    def write(self, batch: Batch, added: list[dict[str, Any]]) -> None:
        """Writes rows; a short row is filled up, so that the added values stand under their names."""
        for line, values in zip(batch.raw, added, strict=True):
            fields = (line + [""] * self._width)[: self._width]
            self._writer.writerow(fields + [_plain(values.get(name)) for name in self._added])

    def close(self) -> None:
        """Closes the file."""
        self._file.close()


def _plain(value: Any) -> str:  # noqa: ANN401 - whatever a column holds
    if value is None:
        return ""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
