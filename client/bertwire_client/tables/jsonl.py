"""JSON Lines by the standard library."""

import json
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from bertwire_client.tables.rows import Batch, chunks


class JsonlReader:
    """A file with one JSON object a line; rows may have different keys."""

    def __init__(self, path: Path) -> None:
        self.size = path.stat().st_size
        self.columns: list[str] | None = None
        self._file = path.open("rb")

    def batches(self, rows: int) -> Iterator[Batch]:
        """Yields the rows, `rows` at a time; blank lines are no rows."""
        start = 1
        lines = (line for line in self._file if line.strip())
        for chunk in chunks(lines, rows):
            parsed = [_parse(line) for line in chunk]
            yield Batch(start, [row for row, _ in parsed], [fault for _, fault in parsed], chunk)
            start += len(chunk)

    def position(self) -> int:
        """Bytes read so far."""
        return self._file.tell()

    def close(self) -> None:
        """Closes the file."""
        self._file.close()


def _parse(line: bytes) -> tuple[dict[str, Any], str | None]:
    try:
        row = json.loads(line.removeprefix(b"\xef\xbb\xbf"))
    except (ValueError, RecursionError) as error:
        return {}, f"the line is not JSON: {error}"
    return (row, None) if isinstance(row, dict) else ({}, "the line is not a JSON object")


class JsonlWriter:
    """Writes the rows of a `JsonlReader` with keys added; a line that was no object goes out under the key `line`."""

    def __init__(self, path: Path, added: list[str]) -> None:
        self._file = path.open("wb")
        self._added = added

    def write(self, batch: Batch, added: list[dict[str, Any]]) -> None:
        """Writes rows; added keys come last and replace keys of the same name."""
        for row, fault, line, values in zip(batch.rows, batch.errors, batch.raw, added, strict=True):
            kept = row if fault is None else {"line": line.decode(errors="backslashreplace").rstrip("\r\n")}
            self._file.write(_dump(kept | {name: values.get(name) for name in self._added}))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()


def _dump(row: dict[str, Any]) -> bytes:
    try:
        return json.dumps(row, ensure_ascii=False).encode() + b"\n"
    except UnicodeEncodeError:  # a lone surrogate has no UTF-8 form; its escape gives it back as it was
        return json.dumps(row).encode() + b"\n"
