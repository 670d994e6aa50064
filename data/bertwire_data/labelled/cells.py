"""One row's cells as an input and a target, or the kind of fault that the row has."""

import json
import math
import re
from collections.abc import Callable
from itertools import pairwise
from typing import Any

from bertwire_core.tags import OUTSIDE
from bertwire_core.tasks import Task
from bertwire_data.labelled.kinds import Columns
from bertwire_data.labelled.names import label_name

Row = dict[str, Any]

# What data frames write into CSV for a missing value, beside the empty field. `None` and `NA` are not here: both are
# labels in use.
_NULLS = frozenset({"nan", "NaN", "NAN", "null", "Null", "NULL", "<NA>"})
# What says of each label whether a text has it, where names are expected.
_MARKS = ({"0", "1"}, {"false", "true"})
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", re.ASCII)


class Fault(Exception):
    """What is wrong with a row, in words that fit every row with the same kind of fault."""


def read_input(row: Row, task: Task, columns: Columns, *, delimited: bool) -> str | tuple[str, str] | list[str]:
    """The text, the pair of texts or the words of a row; raises `Fault`."""
    if task == "token_classification":
        return _words(row, columns.text, delimited)
    text = _text(row, columns.text, delimited)
    return text if columns.text_pair is None else (text, _text(row, columns.text_pair, delimited))


def read_target(row: Row, task: Task, column: str, *, delimited: bool) -> str | list[str] | float:
    """The label, the labels, the tags or the number of a row; raises `Fault`."""
    value = _value(row, column, delimited)
    readers: dict[Task, Callable[[Any, str, bool], Any]] = {
        "single_label": _label,
        "multi_label": _labels,
        "token_classification": _tags,
        "regression": _number,
    }
    target: str | list[str] | float = readers[task](value, column, delimited)
    return target


def is_null(value: object, *, delimited: bool) -> bool:
    """Whether a cell holds a missing value; in a delimited file also an empty field and the spellings of null."""
    if isinstance(value, float):
        return math.isnan(value)
    return value is None or (delimited and isinstance(value, str) and (not value.strip() or value.strip() in _NULLS))


def as_list(value: object, *, delimited: bool) -> list[Any] | None:
    """A cell as a list, which a delimited file writes as a JSON array; None where it is none."""
    if delimited and isinstance(value, str) and value.lstrip().startswith("["):
        try:
            value = json.loads(value)
        except (ValueError, RecursionError):
            return None
    return value if isinstance(value, list) else None


def as_number(value: object, *, delimited: bool) -> float | None:
    """A cell as a finite number, which a delimited file writes in digits; None where it is none."""
    if delimited and isinstance(value, str) and _NUMBER.fullmatch(value.strip()):
        value = float(value)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        return number if math.isfinite(number := float(value)) else None
    except OverflowError:
        return None


def _value(row: Row, column: str, delimited: bool) -> Any:  # noqa: ANN401 - whatever a column holds
    value = row.get(column)
    if isinstance(value, str) and (not value.strip() or is_null(value, delimited=delimited)):
        raise Fault(f"an empty, blank or null value in column {column!r}")
    if is_null(value, delimited=delimited):
        raise Fault(f"no value in column {column!r}")
    if isinstance(value, str):
        _require_unicode(value, column)
    return value


def _text(row: Row, column: str, delimited: bool) -> str:
    value = _value(row, column, delimited)
    if not isinstance(value, str):
        raise Fault(f"a text that is no string in column {column!r}")
    return value


def _words(row: Row, column: str, delimited: bool) -> list[str]:
    words = as_list(_value(row, column, delimited), delimited=delimited)
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


def _label(value: object, column: str, _: bool) -> str:
    name = label_name(value)
    if name is None:
        raise Fault(f"a label that is no string, integer or boolean in column {column!r}")
    return name


def _labels(value: object, column: str, delimited: bool) -> list[str]:
    values = as_list(value, delimited=delimited)
    if values is None:
        raise Fault(f"no list of labels in column {column!r}")
    names = [_label(each, column, delimited) for each in values]
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


def _tags(value: object, column: str, delimited: bool) -> list[str]:
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


def _number(value: object, column: str, delimited: bool) -> float:
    number = as_number(value, delimited=delimited)
    if number is None:
        raise Fault(f"a label that is no finite number in column {column!r}")
    return number


def _require_unicode(value: str, column: str) -> None:
    # The readers carry bytes that are not UTF-8 as lone surrogates, which have no UTF-8 form.
    try:
        value.encode()
    except UnicodeEncodeError:
        raise Fault(f"bytes that are not UTF-8 in column {column!r}") from None
