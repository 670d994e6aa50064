"""Small edits of texts, after which a person would decide as before; but for a negation."""

import re
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass
from random import Random
from typing import TYPE_CHECKING, cast

from bertwire_trainer.trust.first_names import FIRST_NAMES

if TYPE_CHECKING:
    from bertwire_data.tasks.base import Input

Edit = Callable[[str, Random], str]

# Stands between the words of a list while they are edited; it is in no word that anybody writes.
_BETWEEN = "\x1f"
# Words that typos are made in: four letters or more, so that the rest still says which word it is.
_WORD = re.compile(r"[^\W\d_]{4,}")
# The neighbours of each letter on a QWERTY keyboard, in its own row.
_ROWS = ("qwertyuiop", "asdfghjkl", "zxcvbnm")
_AUXILIARY = re.compile(
    r"\b(is|are|was|were|am|do|does|did|can|could|will|would|should|has|have|had|must|may|might)\b(?!n't| not\b)", re.I
)
_NAMES = re.compile(rf"\b({'|'.join(name for names in FIRST_NAMES for name in names)})\b")
_NUMBER = re.compile(r"\d+")


@dataclass(frozen=True, slots=True)
class EditSpec:
    """One edit.

    Attributes:
        edit: return the text edited; as it is where the edit does not apply to it.
        by_word: whether it keeps the number of words, so that tags of words still apply.
        same_label: whether the text keeps its label.
    """

    edit: Edit
    by_word: bool = True
    same_label: bool = True


def swap_letters(text: str, generator: Random) -> str:
    """Return the text with two neighbouring letters inside of one word swapped."""
    places = [
        place
        for word in _WORD.finditer(text)
        for place in range(word.start() + 1, word.end() - 2)
        if text[place] != text[place + 1]
    ]
    if not places:
        return text
    place = generator.choice(places)
    return text[:place] + text[place + 1] + text[place] + text[place + 2 :]


def hit_neighbour(text: str, generator: Random) -> str:
    """Return the text with one letter inside of a word replaced by its left or right neighbour on the keyboard."""
    places = [
        place
        for word in _WORD.finditer(text)
        for place in range(word.start() + 1, word.end())
        if _neighbours(text[place])
    ]
    if not places:
        return text
    place = generator.choice(places)
    return text[:place] + generator.choice(_neighbours(text[place])) + text[place + 1 :]


def _neighbours(letter: str) -> str:
    row = next((row for row in _ROWS if letter.lower() in row), "")
    place = row.find(letter.lower())
    found = row[max(place - 1, 0) : place] + row[place + 1 : place + 2]
    return found.upper() if letter.isupper() else found


def no_punctuation(text: str, _: Random) -> str:
    """Return the text without punctuation; as it is where nothing else would be left."""
    kept = "".join(each for each in text if not unicodedata.category(each).startswith("P"))
    return kept if kept.strip() else text


def negated(text: str, _: Random) -> str:
    """Return the text with `not` after its first English auxiliary verb."""
    return _AUXILIARY.sub(r"\1 not", text, count=1)


def other_names(text: str, generator: Random) -> str:
    """Return the text with each first name replaced by another of the same list, a name always by the same one."""
    given: dict[str, str] = {}

    def replaced(found: re.Match[str]) -> str:
        name = found[0]
        names = next(names for names in FIRST_NAMES if name in names)
        return given.setdefault(name, generator.choice([each for each in names if each != name]))

    return _NAMES.sub(replaced, text)


def other_numbers(text: str, generator: Random) -> str:
    """Return the text with each number replaced by another of as many digits that does not begin with 0."""

    def replaced(found: re.Match[str]) -> str:
        digits = found[0]
        first = generator.choice([each for each in "123456789" if each != digits[0]])
        return first + "".join(generator.choices("0123456789", k=len(digits) - 1))

    return _NUMBER.sub(replaced, text)


EDITS: dict[str, EditSpec] = {
    "typo, two letters swapped": EditSpec(swap_letters),
    "typo, neighbouring key": EditSpec(hit_neighbour),
    "lower case": EditSpec(lambda text, _: text.lower()),
    "upper case": EditSpec(lambda text, _: text.upper()),
    "no punctuation": EditSpec(no_punctuation, by_word=False),
    "spaces around": EditSpec(lambda text, _: f"  {text}  ", by_word=False),
    "other first names": EditSpec(other_names),
    "other numbers": EditSpec(other_numbers),
    "negation added": EditSpec(negated, by_word=False, same_label=False),
}


def edited(given: "Input", edit: Edit, generator: Random) -> "Input":
    """Return a text, a pair of texts or a list of words edited; as it is where the edit does not apply to it."""
    if isinstance(given, str):
        return edit(given, generator)
    if isinstance(given, tuple):
        return cast("tuple[str, str]", tuple(edit(each, generator) for each in given))
    words = edit(_BETWEEN.join(given), generator).split(_BETWEEN)
    return words if len(words) == len(given) else given
