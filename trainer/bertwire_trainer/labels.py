"""Labels as names: from the values of a file to the model's order."""

import math
import re
from collections.abc import Iterable


def label_name(value: object) -> str | None:
    """The name of a label value; None where the value is no label.

    Strings lose white space at both ends, booleans become `true` and `false`, and a whole float becomes its integer,
    since a column of integers turns to floats where a row lacks one.
    """
    if isinstance(value, str):
        return value.strip()
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int):
        return str(value)
    if isinstance(value, float) and math.isfinite(value) and value.is_integer():
        return str(int(value))
    return None


def label_order(labels: Iterable[str]) -> list[str]:
    """The distinct labels in natural order: numbers by value, so that `class 2` comes before `class 10`."""
    distinct = set(labels)
    if all(re.fullmatch(r"[+-]?\d+", label) for label in distinct):
        return sorted(distinct, key=lambda label: (int(label), label))
    return sorted(distinct, key=_natural)


def _natural(label: str) -> tuple[list[tuple[int, int, str]], str]:
    parts = re.split(r"(\d+)", label.casefold())
    return [(0, int(part), "") if part.isdecimal() else (1, 0, part) for part in parts if part], label
