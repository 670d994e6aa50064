"""Read labelled rows into memory, and report all faulty rows together."""

from collections.abc import Callable, Iterable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from bertwire_core.errors import UserError
from bertwire_core.files import unicode_name
from bertwire_core.tasks import Task
from bertwire_data.columns import WORDS, Columns
from bertwire_data.labelled.rows import Labelled
from bertwire_data.labelled.survey import Survey
from bertwire_data.rows import read_rows, table_batches
from bertwire_data.tables import Batch, open_table
from bertwire_data.tasks import TASK_ROWS, TaskRows
from bertwire_data.tasks.base import Input, Target
from bertwire_data.tasks.cells import Fault, Row, read_value


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

    name, batches = unicode_name(path), partial(table_batches, path, sheet)
    try:
        found = collect(name, str(path), batches, columns, task, present, delimited=delimited)
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
    read, numbers = read_rows(shown, batches, lambda row: _read_row(row, task_rows, columns, delimited))
    if not read:
        raise UserError(f"{shown} has no rows; add labelled rows")
    inputs, targets = zip(*read, strict=True)
    return list(inputs), list(targets), numbers


def _read_row(row: Row, task_rows: TaskRows, columns: Columns, delimited: bool) -> tuple[Input, Target]:
    assert columns.label is not None  # noqa: S101 - `TaskRows.columns` has set it
    read = task_rows.read_input(row, columns, delimited=delimited)
    value = read_value(row, columns.label, delimited=delimited)
    target = task_rows.read_target(value, columns.label, delimited=delimited)
    if isinstance(read, list) and isinstance(target, list) and len(read) != len(target):
        raise Fault("words and tags of unequal count")
    return read, target


def _require_columns(shown: str, present: list[str], columns: Columns) -> None:
    for name in (columns.text, columns.text_pair, columns.label):
        if name is not None and name not in present:
            options = "--text-column, --text-pair-column" if columns.text_pair else "--text-column"
            raise UserError(
                f"{shown} has no column {name!r}; it has {', '.join(map(repr, present))}: "
                f"choose with {options} and --label-column"
            )
