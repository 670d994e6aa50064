"""Read labelled rows into memory, and report all faulty rows together."""

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from bertwire_core.errors import UserError, first_line
from bertwire_core.files import unicode_name
from bertwire_core.tasks import Task
from bertwire_data.columns import WORDS, Columns
from bertwire_data.labelled.rows import Labelled
from bertwire_data.labelled.survey import Survey
from bertwire_data.tables import Batch, TableReader, open_table
from bertwire_data.tasks import TASK_ROWS, TaskRows
from bertwire_data.tasks.base import Input, Target
from bertwire_data.tasks.cells import Fault, Row, read_value

# Rows read at a time; with half as many less memory is needed, and Parquet files are read in twice as many pieces.
_BATCH_ROWS = 4096
# Most kinds of fault that a message names, and most row numbers of each. With half as many a pattern is harder to see,
# with many more the message is no longer one line.
_SHOWN = 5


def read_labelled(path: Path, columns: Columns, task: Task | None = None, sheet: str | None = None) -> Labelled:
    """Read the labelled rows of a table; without `task` it is found from the rows.

    In CSV, TSV and Excel an empty field and the spellings of null are missing values, and lists are JSON arrays; the
    other formats have nulls and lists. The file is read twice, so that its rows need not be in memory to be looked at.

    Args:
        path: the file; see `bertwire_data.tables`.
        columns: the columns to read.
        task: the task of the rows; None: it is found from them.
        sheet: the sheet of an Excel file; None: the first.

    Raises:
        UserError: the file or a column is missing, it has no rows, or rows are faulty (all of them in one line).
    """
    with open_table(path, sheet) as reader:
        present, delimited, remarks = reader.columns, reader.delimited, list(reader.remarks)

    def batches() -> Iterator[Batch]:
        with open_table(path, sheet) as reader:
            yield from _one_line(path, reader)

    try:
        found = collect(unicode_name(path), str(path), batches, columns, task, present, delimited=delimited)
    except UserError as error:  # which may come from what was found out about the file
        raise UserError("; ".join([str(error), *remarks])) from error
    return replace(found, remarks=remarks)


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
    """Collect labelled rows from batches.

    Args:
        source: name of the source in the result.
        shown: name of the source in messages.
        batches: returns the rows, from the first one with every call.
        columns: the columns to read.
        task: the task of the rows; None: it is found from them.
        present: the columns of the table, where the source knows them beforehand.
        delimited: see `TableReader`.

    Raises:
        UserError: a column is missing, there are no rows, or rows are faulty (all of them in one line).
    """
    survey = Survey(dict.fromkeys(present or ()), delimited)
    survey.add(batches(), _watched(columns) if task is None else ())
    matching = (each for each, rows in TASK_ROWS.items() if rows.matches(survey, columns))
    found: Task = next(matching) if task is None else task
    task_rows = TASK_ROWS[found]
    columns = task_rows.columns(columns, survey.present)
    if survey.present:
        _require_columns(shown, list(survey.present), columns)
    inputs, targets, numbers = _read(shown, batches(), task_rows, columns, delimited)
    return Labelled(source, found, inputs, targets, numbers, columns)


def _watched(columns: Columns) -> set[str]:
    """Return the columns whose values tell the task."""
    labels = {each.label_column for each in TASK_ROWS.values()} if columns.label is None else {columns.label}
    return {columns.text, WORDS, *labels}


def _read(
    shown: str, batches: Iterable[Batch], task_rows: TaskRows, columns: Columns, delimited: bool
) -> tuple[list[Any], list[Any], list[int]]:
    inputs, targets, rows = [], [], []
    faults: dict[str, list[int]] = {}
    for batch in batches:
        for number, (row, error) in enumerate(zip(batch.rows, batch.errors, strict=True), batch.start):
            try:
                if error:
                    raise Fault(_kind(error))
                read, target = _read_row(row, task_rows, columns, delimited)
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


def _read_row(row: Row, task_rows: TaskRows, columns: Columns, delimited: bool) -> tuple[Input, Target]:
    assert columns.label is not None  # noqa: S101 - `TaskRows.columns` has set it
    read = task_rows.read_input(row, columns, delimited=delimited)
    value = read_value(row, columns.label, delimited=delimited)
    target = task_rows.read_target(value, columns.label, delimited=delimited)
    if isinstance(read, list) and isinstance(target, list) and len(read) != len(target):
        raise Fault("words and tags of unequal count")
    return read, target


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
