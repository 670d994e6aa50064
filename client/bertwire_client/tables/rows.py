"""What every table format reads and writes."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any, TypeVar

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Batch:
    """Consecutive rows of a table.

    Attributes:
        start: number of the first row; the table's first is 1.
        rows: each row's values by column; a row that could not be read has none or some.
        errors: for each row, why it could not be read, or None.
        raw: what the same format's writer needs to give the rows back as they were.
    """

    start: int
    rows: list[dict[str, Any]]
    errors: list[str | None]
    raw: Any


def chunks(items: Iterable[T], size: int) -> Iterator[list[T]]:
    """Splits `items` into lists of `size`; the last may be shorter."""
    iterator = iter(items)
    while chunk := list(islice(iterator, size)):
        yield chunk
