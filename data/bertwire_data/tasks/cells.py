"""Read single cells. Each reader raises `Fault` where the cell holds nothing of its kind."""

import json
import math
import re
from itertools import pairwise
from typing import Any

from bertwire_core.tags import OUTSIDE
from bertwire_data.tasks.label_names import label_name

Row = dict[str, Any]

# Spellings that data frames write into CSV for a missing value, beside the empty field. `None` and `NA` are not here:
# both are labels in use.
_NULLS = frozenset({"nan", "NaN", "NAN", "null", "Null", "NULL", "<NA>"})
# Values of a multi-hot row, where label names are expected.
_MARKS = ({"0", "1"}, {"false", "true"})
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", re.ASCII)


class Fault(Exception):
    """A fault of a row, in words that fit every row with the same kind of fault."""


def is_null(value: object, *, delimited: bool) -> bool:
    """Return whether a cell is a missing value; in a delimited file also an empty field and the spellings of null."""
    if isinstance(value, float):
        return math.isnan(value)
    return value is None or (delimited and isinstance(value, str) and (not value.strip() or value.strip() in _NULLS))


def as_list(value: object, *, delimited: bool) -> list[Any] | None:
    """Return a cell as a list, which a delimited file writes as a JSON array; None where it is none."""
    if delimited and isinstance(value, str) and value.lstrip().startswith("["):
        try:
            value = json.loads(value)
        except (ValueError, RecursionError):
            return None
    return value if isinstance(value, list) else None


def as_number(value: object, *, delimited: bool) -> float | None:
    """Return a cell as a finite number, which a delimited file writes in digits; None where it is none."""
    if delimited and isinstance(value, str) and _NUMBER.fullmatch(value.strip()):
        value = float(value)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        return number if math.isfinite(number := float(value)) else None
    except OverflowError:
        return None


def read_value(row: Row, column: str, *, delimited: bool) -> object:
    """Return the value of a column that every row needs."""
    value = row.get(column)
    if isinstance(value, str) and (not value.strip() or is_null(value, delimited=delimited)):
        raise Fault(f"an empty, blank or null value in column {column!r}")
    if is_null(value, delimited=delimited):
        raise Fault(f"no value in column {column!r}")
    if isinstance(value, str):
        _require_unicode(value, column)
    return value


def read_text(row: Row, column: str, *, delimited: bool) -> str:
    """Return the text in a column."""
    value = read_value(row, column, delimited=delimited)
    if not isinstance(value, str):
        raise Fault(f"a text that is no string in column {column!r}")
    return value


def read_words(row: Row, column: str, *, delimited: bool) -> list[str]:
    """Return the words in a column, at least one."""
    words = as_list(read_value(row, column, delimited=delimited), delimited=delimited)
    if words is None:
        raise Fault(f"no list of words in column {column!r}")
    if not words:
        raise Fault(f"an empty list of words in column {column!r}")
    for word in words:
        if not isinstance(word, str):
            raise Fault(f"a word that is no string in column {column!r}")
        if not word.strip():
            raise Fault(f"an empty or blank word in column {column!r}")
        _require_unicode(word, column)
    return words


def read_label(value: object, column: str) -> str:
    """Return the name of a label."""
    name = label_name(value)
    if name is None:
        raise Fault(f"a label that is no string, integer or boolean in column {column!r}")
    return name


def read_labels(value: object, column: str, *, delimited: bool) -> list[str]:
    """Return the distinct names of a list of labels."""
    values = as_list(value, delimited=delimited)
    if values is None:
        raise Fault(f"no list of labels in column {column!r}")
    names = [read_label(each, column) for each in values]
    for name in names:
        if not name:
            raise Fault(f"an empty or blank label in column {column!r}")
        _require_unicode(name, column)
    distinct = list(dict.fromkeys(names))
    if len(distinct) < len(names) and any(set(distinct) <= marks for marks in _MARKS):
        raise Fault(
            f"a 0 or 1 for every label (multi-hot) in column {column!r}, where the names of a text's labels belong: "
            "[name for name, on in zip(names, row) if on]"
        )
    return distinct


def read_tags(value: object, column: str, *, delimited: bool) -> list[str]:
    """Return a list of IOB2 tags."""
    tags = as_list(value, delimited=delimited)
    if tags is None:
        raise Fault(f"no list of tags in column {column!r}")
    for tag in tags:
        if not isinstance(tag, str) or not (tag == OUTSIDE or (tag[:2] in ("B-", "I-") and tag[2:].strip())):
            raise Fault(f"a tag that is not O, B-TYPE or I-TYPE in column {column!r}")
        _require_unicode(tag, column)
    for before, tag in pairwise([OUTSIDE, *tags]):
        if tag[0] == "I" and (before == OUTSIDE or before[2:] != tag[2:]):
            raise Fault(
                f"a tag I-TYPE that follows neither B-TYPE nor I-TYPE (IOB2 wants B- first) in column {column!r}"
            )
    return tags


def read_number(value: object, column: str, *, delimited: bool) -> float:
    """Return a finite number."""
    number = as_number(value, delimited=delimited)
    if number is None:
        raise Fault(f"a label that is no finite number in column {column!r}")
    return number


def _require_unicode(value: str, column: str) -> None:
    # The tables carry bytes that are not UTF-8 as lone surrogates, which have no UTF-8 form.
    try:
        value.encode()
    except UnicodeEncodeError:
        raise Fault(f"bytes that are not UTF-8 in column {column!r}") from None
