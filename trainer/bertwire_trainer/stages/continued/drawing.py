"""Which old rows are rehearsed."""

from collections.abc import Iterator, Sequence
from itertools import islice
from random import Random

from bertwire_data.labelled import Labelled
from bertwire_data.labelled.rows import names_of
from bertwire_data.tasks.base import Target


def draw(rows: Labelled, count: int | None, seed: int) -> Labelled:
    """Return `count` rows, all where it is None, drawn at random: of each label in turn one, until they are enough.

    Rows without a label, such as those of numbers, are in turn as one label is.
    """
    if count is None or count >= len(rows):
        return rows
    return rows.take(sorted(islice(_in_turn(rows.targets, Random(seed)), count)))  # noqa: S311 - no secret


def _in_turn(targets: Sequence[Target], random: Random) -> Iterator[int]:
    """Yield the place of each target once, with one label after the other."""
    waiting: dict[str, list[int]] = {}
    for place in random.sample(range(len(targets)), len(targets)):
        for name in dict.fromkeys(names_of(targets[place])) or [""]:
            waiting.setdefault(name, []).append(place)
    drawn: set[int] = set()
    while waiting:
        for name in sorted(waiting):
            left = [place for place in waiting.pop(name) if place not in drawn]
            if left:
                place, waiting[name] = left[0], left[1:]
                drawn.add(place)
                yield place
