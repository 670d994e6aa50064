"""Finds texts that make measured quality look better, or training worse, than it is."""

from itertools import combinations

from bertwire_trainer.data import Data
from bertwire_trainer.split import Split


def overlaps(data: Data) -> list[str]:
    """Warnings, one line each: texts on two splits, and texts that train labels in two ways."""
    found = [
        f"{shared} distinct text{'s are' if shared > 1 else ' is'} in both {first} and {second}; "
        f"quality on {second} is overstated"
        for (first, one), (second, other) in combinations(data.splits().items(), 2)
        if (shared := len(set(one.texts) & set(other.texts)))
    ]
    if torn := _contradictions(data.train):
        found.append(f"{torn} distinct text{'s have' if torn > 1 else ' has'} more than one label in train")
    return found


def _contradictions(train: Split) -> int:
    first: dict[str, str] = {}
    pairs = zip(train.texts, train.labels, strict=True)
    return len({text for text, label in pairs if first.setdefault(text, label) != label})
