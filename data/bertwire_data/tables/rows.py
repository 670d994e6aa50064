"""The interfaces of readers and writers of every table format."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, Self, TypeVar

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Batch:
    """Consecutive rows of a table.

    Attributes:
        start: number of the first row; the table's first is 1, in a workbook the number that its sheet shows.
        rows: each row's values by column; a row that could not be read has none or some.
        errors: for each row, why it could not be read, or None.
        raw: the rows as the writer of the same format needs them to write them unchanged.
    """

    start: int
    rows: list[dict[str, Any]]
    errors: list[str | None]
    raw: Any

    def only(self, places: Sequence[int]) -> "Batch":
        """Return the rows at some places, the first of which is 0."""
        raw = self.raw.take(places) if hasattr(self.raw, "take") else [self.raw[place] for place in places]
        return Batch(self.start, [self.rows[place] for place in places], [self.errors[place] for place in places], raw)


class Closable(Protocol):
    """An object that holds a file open until its `with` block ends."""

    def close(self) -> None:
        """Close the file."""
        ...

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class TableWriter(Closable, Protocol):
    """A table being written: the rows of another table of the same format with columns added."""

    def write(self, batch: Batch, added: list[dict[str, Any]]) -> None:
        """Write the rows of `batch`, each with its added values; an added column that a row lacks is empty."""
        ...


class TableReader(Closable, Protocol):
    """An open table.

    Attributes:
        columns: the columns in file order; None where rows may each have their own (JSONL).
        size: the file's size in the unit of `position`.
        delimited: whether every value is a string or missing, and a list is its JSON text.
        remarks: what was found out about the file and is not as its ending says; one line each.
    """

    columns: list[str] | None
    size: int
    delimited: bool = False
    remarks: Sequence[str] = ()

    def batches(self, rows: int) -> Iterator[Batch]:
        """Yield the table's rows, `rows` at a time."""
        ...

    def position(self) -> int:
        """Return how much has been read, between 0 and `size`."""
        ...

    def writer(self, path: Path, added: dict[str, type]) -> TableWriter:
        """Create a table of the same format at `path`; see `create_table`."""
        ...


def chunks(items: Iterable[T], size: int) -> Iterator[list[T]]:
    """Split `items` into lists of `size`; the last may be shorter."""
    iterator = iter(items)
    while chunk := list(islice(iterator, size)):
        yield chunk
