"""Read and write JSON Lines by the standard library."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from bertwire_core.errors import UserError
from bertwire_data.tables.rows import Batch, TableReader, TableWriter, chunks

_BOM = b"\xef\xbb\xbf"


class JsonlReader(TableReader):
    """A file with one JSON object a line; rows may have different keys."""

    def __init__(self, path: Path) -> None:
        self.size = path.stat().st_size
        self.columns = None
        self._file = path.open("rb")

    def batches(self, rows: int) -> Iterator[Batch]:
        """Yield the rows, `rows` at a time, without blank lines."""
        start = 1
        lines = (line for raw in self._file if (line := raw.removeprefix(_BOM).strip()))
        for chunk in chunks(lines, rows):
            parsed = [_parse(line) for line in chunk]
            yield Batch(start, [row for row, _ in parsed], [fault for _, fault in parsed], chunk)
            start += len(chunk)

    def position(self) -> int:
        """Return the bytes read so far."""
        return self._file.tell()

    def writer(self, path: Path, added: dict[str, type]) -> "JsonlWriter":
        """Create a JSONL file for rows of this one."""
        return JsonlWriter(path, list(added))

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def _parse(line: bytes) -> tuple[dict[str, Any], str | None]:
    try:
        row = json.loads(line.decode())
    except (ValueError, RecursionError) as error:
        return {}, f"the line is not JSON: {error}"
    return (row, None) if isinstance(row, dict) else ({}, "the line is not a JSON object")


class JsonlWriter(TableWriter):
    """A writer of the rows of a `JsonlReader` with keys added.

    The text of an object stays as it was, the added keys come last. A line that was no object goes out as a string
    under the key `line`.
    """

    def __init__(self, path: Path, added: list[str]) -> None:
        self._file = path.open("wb")
        self._added = added

    def write(self, batch: Batch, added: list[dict[str, Any]]) -> None:
        """Write rows. Raise `UserError` where one has a key of the name of an added one."""
        for number, row in enumerate(batch.rows, batch.start):
            if twice := sorted(row.keys() & set(self._added)):
                raise UserError(
                    f"row {number} has a key {twice[0]!r} already; choose another --prefix or rename that key"
                )
        for fault, line, values in zip(batch.errors, batch.raw, added, strict=True):
            kept = line if fault is None else _dump({"line": line.decode(errors="backslashreplace")})
            self._file.write(_extended(kept, {name: values.get(name) for name in self._added}) + b"\n")

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def _extended(row: bytes, added: dict[str, Any]) -> bytes:
    if not added:
        return row
    # Numbers with more digits than a float holds, and keys given twice, would be lost by parsing and dumping.
    start = row[:-1].rstrip()
    return start + (b"" if start.endswith(b"{") else b", ") + _dump(added)[1:]


def _dump(row: dict[str, Any]) -> bytes:
    try:
        return json.dumps(row, ensure_ascii=False).encode()
    except UnicodeEncodeError:  # a lone surrogate has no UTF-8 form; its escape keeps it as it was
        return json.dumps(row).encode()
