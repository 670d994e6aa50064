"""Texts that overstate measured quality, or that contradict each other in train."""

from collections.abc import Hashable
from itertools import combinations

from bertwire_data.labelled import Labelled
from bertwire_trainer.data import Data
from bertwire_trainer.tasks import SPECS


def overlaps(data: Data) -> list[str]:
    """Return warnings, one line each: texts in two splits, and texts with two targets in train."""
    found = [
        f"{shared} distinct text{'s are' if shared > 1 else ' is'} in both {first} and {second}; "
        f"quality on {second} is overstated"
        for (first, one), (second, other) in combinations(data.splits().items(), 2)
        if (shared := len({_key(each) for each in one.inputs} & {_key(each) for each in other.inputs}))
    ]
    if torn := _contradictions(data.train):
        found.append(f"{torn} distinct text{'s are' if torn > 1 else ' is'} labelled in more than one way in train")
    return found


def _contradictions(train: Labelled) -> int:
    first: dict[Hashable, Hashable] = {}
    # The labels of a text have no order of their own; the tags of its words have.
    freeze = _unordered if SPECS[train.task].unordered else _key
    rows = [(_key(each), freeze(target)) for each, target in zip(train.inputs, train.targets, strict=True)]
    return len({text for text, target in rows if first.setdefault(text, target) != target})


def _unordered(value: object) -> Hashable:
    return frozenset(value) if isinstance(value, list) else value


def _key(value: object) -> Hashable:
    return tuple(value) if isinstance(value, list) else value
