"""Entities, decoded from the tags of words: one reading of IOB2 for figures, reports and the server."""

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

# The tag of a word that belongs to no entity.
OUTSIDE = "O"
# What `paired` gives for a place without an entity; no type is empty.
NONE = ""


class Span(NamedTuple):
    """An entity: its type, its first word, and the word after its last one."""

    kind: str
    start: int
    end: int


def spans(tags: Iterable[str]) -> Iterator[Span]:
    """The entities of one text's tags, in its order.

    An entity begins with B- and goes on with I- of its type; an I- that continues nothing is none, as in IOB2 taken
    strictly. The type is all that follows the first hyphen, further hyphens included: `B-A-` is of type `A-`.
    """
    kind, start = NONE, 0
    for place, tag in enumerate((*tags, OUTSIDE)):
        if kind and tag != f"I-{kind}":
            yield Span(kind, start, place)
            kind = NONE
        if tag.startswith("B-"):
            kind, start = tag.removeprefix("B-"), place


def paired(true: Sequence[list[str]], predicted: Sequence[list[str]]) -> tuple[list[str], list[str]]:
    """The true and the predicted type at every place, a text's words from one to another, that either has an entity at.

    Args:
        true: the tags of each text.
        predicted: the same for what a model decided.

    Returns:
        Two lists of equal length; `NONE` where one side has no entity of exactly these words.
    """
    ours, theirs = (
        {(text, each.start, each.end): each.kind for text, tags in enumerate(side) for each in spans(tags)}
        for side in (true, predicted)
    )
    places = list(dict.fromkeys((*ours, *theirs)))
    return [ours.get(place, NONE) for place in places], [theirs.get(place, NONE) for place in places]
