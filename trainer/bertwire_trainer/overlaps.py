"""Finds texts that make measured quality look better, or training worse, than it is."""

from collections.abc import Hashable
from itertools import combinations

from bertwire_data.labelled import Labelled
from bertwire_trainer.data import Data


def overlaps(data: Data) -> list[str]:
    """Warnings, one line each: texts on two splits, and texts that train labels in two ways."""
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
    freeze = _unordered if train.task == "multi_label" else _key
    rows = [(_key(each), freeze(target)) for each, target in zip(train.inputs, train.targets, strict=True)]
    return len({text for text, target in rows if first.setdefault(text, target) != target})


def _unordered(value: object) -> Hashable:
    return frozenset(value) if isinstance(value, list) else value


def _key(value: object) -> Hashable:
    return tuple(value) if isinstance(value, list) else value
