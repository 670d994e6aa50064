"""Texts of one split that are in another, which overstates measured quality."""

from collections.abc import Iterable, Sequence
from itertools import combinations
from typing import TYPE_CHECKING, Any

from bertwire_data.labelled import Labelled, frozen
from bertwire_trainer.messages import note

if TYPE_CHECKING:
    from bertwire_trainer.data import Data


def places_apart(inputs: Sequence[Any], splits: Iterable[Labelled]) -> list[int]:
    """Return the places of those inputs, as in `Labelled`, that no split has."""
    known = {frozen(each) for split in splits for each in split.inputs}
    return [place for place, each in enumerate(inputs) if frozen(each) not in known]


def apart(rows: Labelled, data: "Data", title: str | None = None) -> Labelled:
    """Return the rows whose texts are neither in dev nor in test; under a title, note how many others there are."""
    left = rows.take(places_apart(rows.inputs, data.held_out().values()))
    if title is not None and len(left) < len(rows):
        note(f"{title}: {len(rows) - len(left)} rows of {rows.source} are in dev or test, and left out")
    return left


def overlaps(data: "Data") -> list[str]:
    """Return a line for each two splits that share texts."""
    texts = {name: {frozen(each) for each in split.inputs} for name, split in data.splits().items()}
    return [
        f"{shared} distinct text{'s are' if shared > 1 else ' is'} in both {first} and {second}; "
        f"quality on {second} is overstated"
        for first, second in combinations(texts, 2)
        if (shared := len(texts[first] & texts[second]))
    ]
