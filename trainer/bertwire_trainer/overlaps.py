"""Texts of one split that are in another, which overstates measured quality."""

from itertools import combinations

from bertwire_data.labelled import frozen
from bertwire_trainer.data import Data


def overlaps(data: Data) -> list[str]:
    """Return a line for each two splits that share texts."""
    texts = {name: {frozen(each) for each in split.inputs} for name, split in data.splits().items()}
    return [
        f"{shared} distinct text{'s are' if shared > 1 else ' is'} in both {first} and {second}; "
        f"quality on {second} is overstated"
        for first, second in combinations(texts, 2)
        if (shared := len(texts[first] & texts[second]))
    ]
