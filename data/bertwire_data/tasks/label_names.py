"""Name labels by the values of a file, and put names in natural order."""

import math
import re
from collections.abc import Iterable
from decimal import Decimal


def label_name(value: object) -> str | None:
    """Return the name of a label value; None where the value is no label.

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


def natural_order(names: Iterable[str]) -> list[str]:
    """Return the distinct names with numbers by value, so that `class 2` comes before `class 10`.

    Names that are all integers are ordered by value, negative ones too; others without regard to case.
    """
    distinct = set(names)
    if all(re.fullmatch(r"[+-]?\d+", name) for name in distinct):
        # Decimal, since int refuses more than 4,300 digits.
        return sorted(distinct, key=lambda name: (Decimal(name), name))
    return sorted(distinct, key=_natural)


def _natural(name: str) -> tuple[list[tuple[int, Decimal, str]], str]:
    parts = re.split(r"(\d+)", name.casefold())
    return [(0, Decimal(part), "") if part.isdecimal() else (1, Decimal(0), part) for part in parts if part], name
