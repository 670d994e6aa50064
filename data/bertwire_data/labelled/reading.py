"""Reads labelled rows into memory, with every faulty row counted and reported together."""

import re
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from bertwire_core.errors import UserError, first_line
from bertwire_core.files import unicode_name
from bertwire_core.tasks import Task
from bertwire_data.labelled.cells import Fault, read_input, read_target
from bertwire_data.labelled.detect import Survey
from bertwire_data.labelled.kinds import Columns, Labelled
from bertwire_data.tables import Batch, TableReader, open_table

_DELIMITED = frozenset({".csv", ".tsv"})
_BATCH_ROWS = 4096
_ROWS_SHOWN = 5


def read_labelled(path: Path, columns: Columns, task: Task | None = None) -> Labelled:
    """Reads the labelled rows of a CSV, TSV, JSONL or Parquet file; without `task`, the data says what it is for.

    In CSV and TSV an empty field and the spellings of null are missing values, and lists are JSON arrays; the other
    formats have nulls and lists. The file is read twice, so that its rows need not be in memory to be looked at.

    Raises:
        UserError: the file or a column is missing, it has no rows, or rows are faulty (all of them in one line).
    """
    with open_table(path) as reader:
        present = reader.columns

    def batches() -> Iterator[Batch]:
        with open_table(path) as reader:
            yield from _one_line(path, reader)

    delimited = path.suffix.lower() in _DELIMITED
    return collect(unicode_name(path), str(path), batches, columns, task, present, delimited=delimited)


def collect(
    source: str,
    shown: str,
    batches: Callable[[], Iterable[Batch]],
    columns: Columns,
    task: Task | None = None,
    present: list[str] | None = None,
    *,
    delimited: bool = False,
) -> Labelled:
    """Gathers batches of rows.

    Args:
        source: what the result is called.
        shown: what messages call the source.
        batches: gives the rows, anew with every call.
        columns: the columns to read.
        task: what the rows are labelled for; None: the data says.
        present: the columns there are, where the source knows them beforehand.
        delimited: whether all values are strings of a CSV or TSV file.

    Raises:
        UserError: a column is missing, there are no rows, or rows are faulty (all of them in one line).
    """
    survey = Survey(dict.fromkeys(present or ()), delimited)
    survey.add(batches(), columns, task)
    task = survey.task(columns) if task is None else task
    columns = columns.resolved(task, survey.present)
    if survey.present:
        _require_columns(shown, list(survey.present), columns)
    inputs, targets, rows = _read(shown, batches(), task, columns, delimited)
    return Labelled(source, task, inputs, targets, rows, columns)


def _read(
    shown: str, batches: Iterable[Batch], task: Task, columns: Columns, delimited: bool
) -> tuple[list[Any], list[Any], list[int]]:
    inputs, targets, rows = [], [], []
    faults: dict[str, list[int]] = {}
    assert columns.label is not None  # noqa: S101 - `resolved` has set it
    for batch in batches:
        for number, (row, error) in enumerate(zip(batch.rows, batch.errors, strict=True), batch.start):
            try:
                if error:
                    raise Fault(_kind(error))
                read = read_input(row, task, columns, delimited=delimited)
                target = read_target(row, task, columns.label, delimited=delimited)
                if task == "token_classification" and len(read) != len(target):  # type: ignore[arg-type]  # a list
                    raise Fault("words and tags of unequal count")
            except Fault as fault:
                faults.setdefault(str(fault), []).append(number)
                continue
            inputs.append(read)
            targets.append(target)
            rows.append(number)
    if not rows and not faults:
        raise UserError(f"{shown} has no rows; add labelled rows")
    _refuse(shown, faults)
    return inputs, targets, rows


def _one_line(path: Path, reader: TableReader) -> Iterator[Batch]:
    try:
        yield from reader.batches(_BATCH_ROWS)
    except ValueError as error:  # pyarrow's errors on damaged data and bytes that are not UTF-8
        raise UserError(f"{path} cannot be read: {first_line(error)}") from error


def _require_columns(shown: str, present: list[str], columns: Columns) -> None:
    for name in (columns.text, columns.text_pair, columns.label):
        if name is not None and name not in present:
            options = "--text-column, --text-pair-column" if columns.text_pair else "--text-column"
            raise UserError(
                f"{shown} has no column {name!r}; it has {', '.join(map(repr, present))}: "
                f"choose with {options} and --label-column"
            )


def _kind(error: str) -> str:
    """What rows with the same kind of fault have in common: the message up to its details."""
    return re.split("[;:]", error)[0]


def _refuse(shown: str, faults: dict[str, list[int]]) -> None:
    if not faults:
        return
    listed = sorted(faults.items(), key=lambda item: item[1])
    parts = [f"{_rows(numbers)}: {fault}" for fault, numbers in listed[:_ROWS_SHOWN]]
    more = f"; and {len(listed) - _ROWS_SHOWN} more kinds of fault" if len(listed) > _ROWS_SHOWN else ""
    raise UserError(f"{shown} has faulty rows: {'; '.join(parts)}{more}; correct or remove them")


def _rows(numbers: list[int]) -> str:
    first = ", ".join(map(str, numbers[:_ROWS_SHOWN]))
    dots = ", …" if len(numbers) > _ROWS_SHOWN else ""
    return f"{len(numbers)} row{'s' * (len(numbers) > 1)} (row{'s' * (len(numbers) > 1)} {first}{dots})"
