"""Read and write CSV and TSV by the standard library, every value a string.

In CSV, whose delimiter is a comma, a semicolon or a tab, a quoted field may hold delimiters and line breaks. In TSV a
quote is a character like any other, and a field holds neither tabs nor line breaks: TSV files are written both ways,
but a literal quote at the start of a text, taken for a quoted field, would silently swallow the rows after it; a quoted
field taken literally only keeps its quotes.
"""

import csv
import json
import re
from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import Any, Literal, TextIO

from bertwire_core.errors import UserError
from bertwire_data.tables.encodings import Encoding, encoding_of
from bertwire_data.tables.rows import Batch, TableReader, TableWriter, chunks

# Most characters of a field, for long documents; the standard limit of 128 KiB guards against broken quotes, which are
# found here by the end of the file.
csv.field_size_limit(64 << 20)

# A mark after the last line: within quotes it becomes part of a field, else a row of its own. No file can hold it, for
# no encoding has lone surrogates and bytes that are not UTF-8 become others.
_END = "\ud800"
_UNCLOSED = "a quote that opens in this row is never closed; the row holds the rest of the file"
# Characters in which the header's delimiter is looked for; a header of more is judged by its beginning.
_HEAD = 1 << 16
_DELIMITERS = {",": "commas", ";": "semicolons", "\t": "tabs"}
_QUOTED = re.compile(r'''(?:\A|(?<=[,;\t]))"[^"]*+(?:""[^"]*+)*+"''')


def _open(path: Path, mode: Literal["r", "w"], encoding: Encoding) -> TextIO:
    # Line ends stay as they are, for a quoted field may hold them.
    errors = encoding.reading if mode == "r" else encoding.writing
    return path.open(mode, encoding=encoding.codec, errors=errors, newline="")


class DelimitedReader(TableReader):
    """A file with a header line in UTF-8, UTF-16 or cp1252; a byte order mark is skipped.

    Attributes:
        delimiter: what separates the columns.
        quoted: whether a field may be quoted: in CSV, not in TSV.
        encoding: how the text is written.
    """

    delimited = True

    def __init__(self, path: Path, *, quoted: bool) -> None:
        self.path, self.quoted = path, quoted
        self.size = path.stat().st_size
        self.encoding = encoding_of(path)
        self._file = _open(path, "r", self.encoding)
        try:
            self.delimiter = self._delimiter() if quoted else "\t"
            self.header = self._header()
        except BaseException:
            self._file.close()
            raise
        self.columns = self.header
        separated = f"{path}: columns are separated by {_DELIMITERS[self.delimiter]}"
        unusual = separated if quoted and self.delimiter != "," else None
        self.remarks = [each for each in (self.encoding.remark, unusual) if each]

    def _delimiter(self) -> str:
        """Return the delimiter that the header has most of outside quotes, of equals the first in `_DELIMITERS`."""
        line = _QUOTED.sub("", self._file.read(_HEAD).lstrip("\ufeff\r\n"))
        header = re.split("[\r\n]", line, maxsplit=1)[0]
        self._file.seek(0)
        return max(_DELIMITERS, key=header.count)

    def _header(self) -> list[str]:
        if self.encoding.mark:
            self._file.read(1)
        self._reader = csv.reader(chain(self._file, [_END]), **_dialect(self))
        header, unclosed = next(self._lines(), ([""], False))
        if unclosed:
            raise UserError(f"{self.path}: a quote that opens in the header is never closed")
        if header == [""]:
            raise UserError(f"{self.path} is empty; its first line must name the columns")
        if twice := {name for name in header if header.count(name) > 1}:
            raise UserError(f"{self.path} names column {min(twice)!r} twice; rename one")
        return header

    def batches(self, rows: int) -> Iterator[Batch]:
        """Yield the rows, `rows` at a time, without empty lines."""
        start = 1
        for chunk in chunks(self._lines(), rows):
            lines = [line for line, _ in chunk]
            values: list[dict[str, Any]] = [dict(zip(self.header, line, strict=False)) for line in lines]
            faults = [_UNCLOSED if unclosed else _fault(line, len(self.header)) for line, unclosed in chunk]
            yield Batch(start, values, faults, lines)
            start += len(lines)

    def _lines(self) -> Iterator[tuple[list[str], bool]]:
        """Yield the fields of each line, and whether the line ends with the file and not with its quotes."""
        try:
            for line in self._reader:
                if line and line[-1].endswith(_END):
                    if line != [_END]:
                        yield [*line[:-1], line[-1].removesuffix(_END)], True
                elif line:
                    yield line, False
        except csv.Error as error:
            raise UserError(f"{self.path} line {self._reader.line_num}: {error}") from error

    def position(self) -> int:
        """Return the bytes read from disk so far."""
        return self._file.buffer.tell()

    def writer(self, path: Path, added: dict[str, type]) -> "DelimitedWriter":
        """Create a file with the same delimiter and encoding for rows of this one."""
        return DelimitedWriter(path, self, list(added))

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def _dialect(table: DelimitedReader) -> dict[str, Any]:
    unquoted = {} if table.quoted else {"quoting": csv.QUOTE_NONE, "quotechar": None}
    return {"delimiter": table.delimiter, **unquoted}


def _fault(line: list[str], columns: int) -> str | None:
    if len(line) == columns:
        return None
    left_over = f"; left over: {line[columns:]}" if len(line) > columns else ""
    return f"the row has {len(line)} fields where the header has {columns}{left_over}"


class _LineFeeds:
    """A file in which the line end of each row, which the csv module writes in one go, becomes a line feed."""

    def __init__(self, file: TextIO) -> None:
        self._file = file

    def write(self, row: str) -> int:
        return self._file.write(row.removesuffix("\r\n") + "\n")


class DelimitedWriter(TableWriter):
    """A writer of the rows of a `DelimitedReader` with columns added, every line ended by a line feed."""

    def __init__(self, path: Path, like: DelimitedReader, added: list[str]) -> None:
        self._file = _open(path, "w", like.encoding)
        self._width, self._added = len(like.header), added
        # JSON has an escape for every character; the codec's own are no JSON.
        self._ascii = like.encoding.codec == "cp1252"
        self._unbroken = not like.quoted
        if like.encoding.mark:
            self._file.write("\ufeff")
        # Before Python 3.13 the csv module quotes a carriage return only where the line end has one.
        self._writer = csv.writer(_LineFeeds(self._file), lineterminator="\r\n", **_dialect(like))
        self._writer.writerow(like.header + added)

    def write(self, batch: Batch, added: list[dict[str, Any]]) -> None:
        """Write rows; a short row is filled up, so that the added values stand under their names."""
        for line, values in zip(batch.raw, added, strict=True):
            fields = (line + [""] * self._width)[: self._width]
            self._writer.writerow(fields + [self._field(values.get(name)) for name in self._added])

    def _field(self, value: Any) -> str:  # noqa: ANN401 - whatever a column holds
        if value is None:
            return ""
        field = value if isinstance(value, str) else json.dumps(value, ensure_ascii=self._ascii)
        # In TSV nothing can be quoted, and a server's error may have several lines, a label a tab.
        return " ".join(re.split(r"[\t\r\n]+", field)) if self._unbroken else field

    def close(self) -> None:
        """Close the file."""
        self._file.close()
