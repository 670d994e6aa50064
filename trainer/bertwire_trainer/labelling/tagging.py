"""IOB2 tags of the words of a text by its marked spans."""

from bertwire_core.errors import UserError
from bertwire_core.tags import OUTSIDE
from bertwire_trainer.labelling.forms import Answer
from bertwire_trainer.labelling.words import places, split


def tagged(answer: Answer) -> tuple[list[str], list[str]]:
    """Return the words of a text and their tags; a span that begins or ends within a word has all of that word.

    Raises:
        UserError: spans overlap, which IOB2 cannot say.
    """
    text = answer.texts[0]
    words = split(text) if answer.words is None else answer.words
    found = places(text, words)
    if found is None:
        words = split(text)
        found = places(text, words) or []
    tags = [OUTSIDE] * len(words)
    for mark in sorted(answer.marks, key=lambda mark: mark.start):
        inside = [place for place, (start, end) in enumerate(found) if start < mark.end and mark.start < end]
        if any(tags[place] != OUTSIDE for place in inside):
            raise UserError(f"spans overlap in {text[:60]!r}; mark each word once, and export again")
        for place in inside:
            tags[place] = f"{'B' if place == inside[0] else 'I'}-{mark.label}"
    return words, tags
