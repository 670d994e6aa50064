"""Read the rows of a table into memory, and report all faulty rows together."""

import re
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TypeVar

from bertwire_core.errors import UserError, first_line
from bertwire_data.tables import Batch, open_table
from bertwire_data.tasks.cells import Fault, Row

T = TypeVar("T")

# Rows read at a time; with half as many less memory is needed, and Parquet files are read in twice as many pieces.
_BATCH_ROWS = 4096
# Most kinds of fault that a message names, and most row numbers of each. With half as many a pattern is harder to see,
# with many more the message is no longer one line.
_SHOWN = 5


def table_batches(path: Path, sheet: str | None = None) -> Iterator[Batch]:
    """Yield the rows of a table, of an Excel file those of a sheet; raise `UserError` where it cannot be read."""
    with open_table(path, sheet) as reader:
        try:
            yield from reader.batches(_BATCH_ROWS)
        except ValueError as error:  # pyarrow's errors on damaged data and bytes that are not UTF-8
            raise UserError(f"{path} cannot be read: {first_line(error)}") from error


def read_rows(shown: str, batches: Iterable[Batch], read: Callable[[Row], T]) -> tuple[list[T], list[int]]:
    """Return what `read` makes of each row, and the rows' numbers; the first is 1.

    Args:
        shown: name of the source in messages.
        batches: the rows.
        read: raises `Fault` for a row that is faulty.

    Raises:
        UserError: rows are faulty (all of them in one line).
    """
    values, numbers = [], []
    faults: dict[str, list[int]] = {}
    for batch in batches:
        for number, (row, error) in enumerate(zip(batch.rows, batch.errors, strict=True), batch.start):
            try:
                if error:
                    raise Fault(_kind(error))
                values.append(read(row))
            except Fault as fault:
                faults.setdefault(str(fault), []).append(number)
                continue
            numbers.append(number)
    _refuse(shown, faults)
    return values, numbers


def _kind(error: str) -> str:
    """Return what rows with the same kind of fault have in common: the message up to its details."""
    return re.split("[;:]", error)[0]


def _refuse(shown: str, faults: dict[str, list[int]]) -> None:
    if not faults:
        return
    listed = sorted(faults.items(), key=lambda item: item[1])
    parts = [f"{_rows(numbers)}: {fault}" for fault, numbers in listed[:_SHOWN]]
    more = f"; and {len(listed) - _SHOWN} more kinds of fault" if len(listed) > _SHOWN else ""
    raise UserError(f"{shown} has faulty rows: {'; '.join(parts)}{more}; correct or remove them")


def _rows(numbers: list[int]) -> str:
    first = ", ".join(map(str, numbers[:_SHOWN]))
    dots = ", …" if len(numbers) > _SHOWN else ""
    return f"{len(numbers)} row{'s' * (len(numbers) > 1)} (row{'s' * (len(numbers) > 1)} {first}{dots})"
