"""Values that calls draw from, each with a weight."""

import random
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

T = TypeVar("T")

_SECONDS = {"us": 1e-6, "ms": 1e-3, "s": 1.0}


@dataclass(frozen=True, slots=True)
class Mix(Generic[T]):
    """Values and how often each is drawn in proportion to the others."""

    values: tuple[T, ...]
    weights: tuple[float, ...]

    def draw(self, generator: random.Random) -> T:
        """Return one of the values."""
        return self.values[0] if len(self.values) == 1 else generator.choices(self.values, self.weights)[0]


def parse_mix(text: str, read: Callable[[str], T]) -> Mix[T]:
    """Return the mix of `VALUE` or `VALUE:WEIGHT,VALUE:WEIGHT`; raise `ValueError` for anything else."""
    values, weights = [], []
    for part in text.split(","):
        value, _, weight = part.strip().partition(":")
        values.append(read(value))
        weights.append(_weight(weight or "1", part))
    return Mix(tuple(values), tuple(weights))


def _weight(text: str, part: str) -> float:
    if not re.fullmatch(r"\d+(\.\d+)?", text) or not float(text):
        raise ValueError(f"{part.strip()!r} is no VALUE:WEIGHT with a weight above 0, such as 1:90,32:10")
    return float(text)


def parse_seconds(text: str) -> float:
    """Return the seconds of a time with its unit, such as 250ms or 1.5s; raise `ValueError` for anything else."""
    found = re.fullmatch(r"(\d+(?:\.\d+)?)(us|ms|s)", text.strip())
    if found is None or not float(found[1]):
        raise ValueError(f"{text!r} is no time; give a number above 0 and its unit, such as 250ms or 1.5s")
    return float(found[1]) * _SECONDS[found[2]]
