"""IOB2 decoding of word tags into entities, shared by metrics, reports and the server."""

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

# Tag of a word outside any entity.
OUTSIDE = "O"
# Type in `paired` for a span without an entity; no type is empty.
NONE = ""


class Span(NamedTuple):
    """An entity: type, first word, and the word after its last."""

    kind: str
    start: int
    end: int


def spans(tags: Iterable[str]) -> Iterator[Span]:
    """Yield the entities of one text's tags, in order.

    Strict IOB2: an entity begins with B- and continues with I- of the same type; other I- are outside. The type is
    everything after the first hyphen: `B-A-` is of type `A-`.
    """
    kind, start = NONE, 0
    for place, tag in enumerate((*tags, OUTSIDE)):
        if kind and tag != f"I-{kind}":
            yield Span(kind, start, place)
            kind = NONE
        if tag.startswith("B-"):
            kind, start = tag.removeprefix("B-"), place


def paired(true: Sequence[list[str]], predicted: Sequence[list[str]]) -> tuple[list[str], list[str]]:
    """Return true and predicted type for every span of words that is an entity on either side.

    Args:
        true: the tags of each text.
        predicted: the same for a model's decisions.

    Returns:
        Two lists of equal length; `NONE` where one side has no entity with exactly these words.
    """
    ours, theirs = (
        {(text, each.start, each.end): each.kind for text, tags in enumerate(side) for each in spans(tags)}
        for side in (true, predicted)
    )
    places = list(dict.fromkeys((*ours, *theirs)))
    return [ours.get(place, NONE) for place in places], [theirs.get(place, NONE) for place in places]
