"""Reads one labelled table into a split, with every faulty row counted and reported together."""

import math
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from bertwire_client.errors import UserError
from bertwire_client.tables import Batch, TableReader, open_table
from bertwire_trainer.labels import label_name
from bertwire_trainer.split import Split

# What data frames write into CSV for a missing value, beside the empty field. `None` and `NA` are not here: both are
# labels in use.
_NULLS = frozenset({"nan", "NaN", "NAN", "null", "Null", "NULL", "<NA>"})

_DELIMITED = frozenset({".csv", ".tsv"})
_BATCH_ROWS = 4096
_ROWS_SHOWN = 5


def read_table(path: Path, text_column: str, label_column: str) -> Split:
    """Reads the texts and labels of a CSV, TSV, JSONL or Parquet file.

    In CSV and TSV an empty field and the spellings of `_NULLS` are missing values; the other formats have nulls.

    Raises:
        UserError: the file or a column is missing, it has no rows, or rows are faulty (all of them in one line).
    """
    reader = open_table(path)
    try:
        _require_columns(str(path), reader.columns, text_column, label_column)
        nulls = _NULLS if path.suffix.lower() in _DELIMITED else frozenset()
        return collect(path.name, str(path), _batches(path, reader), text_column, label_column, nulls)
    finally:
        reader.close()


def collect(
    source: str,
    shown: str,
    batches: Iterable[Batch],
    text_column: str,
    label_column: str,
    nulls: frozenset[str] = frozenset(),
) -> Split:
    """Gathers batches of rows into a split named `source`; messages name it `shown`."""
    split = Split(source, [], [], [])
    faults: dict[str, list[int]] = {}
    seen: set[str] = set()
    for batch in batches:
        for number, (row, error) in enumerate(zip(batch.rows, batch.errors, strict=True), batch.start):
            seen.update(row)
            text, label = row.get(text_column), label_name(row.get(label_column))
            fault = _kind(error) if error else _fault(row, text_column, label_column, nulls)
            if fault:
                faults.setdefault(fault, []).append(number)
                continue
            split.texts.append(text)  # type: ignore[arg-type]  # _fault has seen that it is a string
            split.labels.append(label or "")
            split.rows.append(number)
    if not split.texts and not faults:
        raise UserError(f"{shown} has no rows, only a header; add labelled rows")
    if seen:
        _require_columns(shown, sorted(seen), text_column, label_column)
    _refuse(shown, faults)
    return split


def _batches(path: Path, reader: TableReader) -> Iterator[Batch]:
    try:
        yield from reader.batches(_BATCH_ROWS)
    except ValueError as error:  # pyarrow's errors on damaged data and bytes that are not UTF-8
        raise UserError(f"{path} cannot be read: {str(error).splitlines()[0]}") from error


def _require_columns(shown: str, columns: list[str] | None, *needed: str) -> None:
    for name in needed:
        if columns is not None and name not in columns:
            raise UserError(
                f"{shown} has no column {name!r}; it has {', '.join(map(repr, columns))}: "
                "choose with --text-column and --label-column"
            )


def _fault(row: dict[str, Any], text_column: str, label_column: str, nulls: frozenset[str]) -> str | None:
    for name in (text_column, label_column):
        value = row.get(name)
        if value is None or (isinstance(value, float) and math.isnan(value)):
            return f"no value in column {name!r}"
        if isinstance(value, str) and (not value.strip() or value.strip() in nulls):
            return f"an empty, blank or null value in column {name!r}"
        if isinstance(value, str) and not _is_unicode(value):
            return f"bytes that are not UTF-8 in column {name!r}"
    if not isinstance(row[text_column], str):
        return f"a text that is no string in column {text_column!r}"
    if label_name(row[label_column]) is None:
        return f"a label that is no string, integer or boolean in column {label_column!r}"
    return None


def _kind(error: str) -> str:
    """What rows with the same kind of fault have in common: the message up to its details."""
    return re.split("[;:]", error)[0]


def _is_unicode(value: str) -> bool:
    """Whether `value` has a UTF-8 form: the readers carry other bytes as lone surrogates."""
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


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
