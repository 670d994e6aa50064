"""Labels as names: from the values of a file to the model's order."""

import math
import re
from collections.abc import Iterable
from decimal import Decimal

from bertwire_core.tags import OUTSIDE
from bertwire_core.tasks import Task


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


def label_order(names: Iterable[str], task: Task = "single_label") -> list[str]:
    """The distinct label names in the model's order.

    Natural order: numbers by value, so that `class 2` comes before `class 10`. For token classification `O` comes
    first, then `B-X` and, where it occurs, `I-X` for each type X; `O`, and `B-X` beside an `I-X`, are there even if no
    word has them, so that every sequence of entities can be written.
    """
    distinct = set(names)
    if task == "token_classification":
        types = _sorted({tag[2:] for tag in distinct - {OUTSIDE}})
        tags = [tag for kind in types for tag in (f"B-{kind}", f"I-{kind}")]
        return [OUTSIDE, *(tag for tag in tags if tag[0] == "B" or tag in distinct)]
    return _sorted(distinct)


def _sorted(distinct: set[str]) -> list[str]:
    # Decimal, since int refuses more than 4,300 digits.
    if all(re.fullmatch(r"[+-]?\d+", name) for name in distinct):
        return sorted(distinct, key=lambda name: (Decimal(name), name))
    return sorted(distinct, key=_natural)


def _natural(name: str) -> tuple[list[tuple[int, Decimal, str]], str]:
    parts = re.split(r"(\d+)", name.casefold())
    return [(0, Decimal(part), "") if part.isdecimal() else (1, Decimal(0), part) for part in parts if part], name
