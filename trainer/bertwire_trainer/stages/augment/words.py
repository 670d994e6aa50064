"""Copies of texts with words deleted, swapped or replaced by synonyms."""

import json
import re
from pathlib import Path
from random import Random

from bertwire_core.errors import UserError

# What one word is, with its apostrophes and hyphens. Splitting by it gives words at odd places.
WORD = re.compile(r"(\w+(?:['’-]\w+)*)")  # noqa: RUF001 - the typographic apostrophe is meant


def split(text: str) -> tuple[list[str], list[int]]:
    """Return the words of a text and what lies between them, in order, and the places of the words."""
    pieces = WORD.split(text)
    return pieces, list(range(1, len(pieces), 2))


def chosen(places: list[int], share: float, words: int, random: Random) -> list[int]:
    """Return some of `places`, in order: a share of `words`, at least one where there are any."""
    return sorted(random.sample(places, min(len(places), max(1, round(share * words)))))


def delete(text: str, share: float, random: Random) -> str:
    """Return a text without some words; a text keeps at least one."""
    pieces, places = split(text)
    spared = set(random.sample(places, min(1, len(places))))
    for place in chosen([each for each in places if each not in spared], share, len(places), random):
        pieces[place] = ""
    return re.sub(" {2,}", " ", "".join(pieces)).strip()


def swap(text: str, share: float, random: Random) -> str:
    """Return a text with some words in each other's places."""
    pieces, places = split(text)
    if len(places) > 1:
        for one in chosen(places, share, len(places), random):
            other = random.choice([each for each in places if each != one])
            pieces[one], pieces[other] = pieces[other], pieces[one]
    return "".join(pieces)


def read_synonyms(path: Path) -> dict[str, list[str]]:
    """Read the synonyms of each word, the words in lower case.

    Raises:
        UserError: the file cannot be read, or is no JSON object from single words to lists of texts.
    """
    try:
        table = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not JSON in UTF-8"
        raise UserError(f"--augment-synonyms {path} cannot be read: {reason}") from error
    if not isinstance(table, dict) or not table:
        raise UserError(f'--augment-synonyms {path} must hold one JSON object, such as {{"good": ["fine", "great"]}}')
    for word, synonyms in table.items():
        if not WORD.fullmatch(word):
            raise UserError(f"--augment-synonyms {path}: {word!r} is not a single word")
        if not isinstance(synonyms, list) or not synonyms or not all(map(_is_text, synonyms)):
            raise UserError(f"--augment-synonyms {path}: {word!r} needs a list of texts that are not blank")
    return {word.lower(): synonyms for word, synonyms in table.items()}


def _is_text(value: object) -> bool:
    return isinstance(value, str) and bool(value.strip())


def substitute(text: str, synonyms: dict[str, list[str]], share: float, random: Random) -> str:
    """Return a text with some of the words that have synonyms replaced; a capital at the start stays one."""
    pieces, places = split(text)
    known = [place for place in places if pieces[place].lower() in synonyms]
    for place in chosen(known, share, len(places), random):
        word = random.choice(synonyms[pieces[place].lower()])
        pieces[place] = word[0].upper() + word[1:] if pieces[place][0].isupper() else word
    return "".join(pieces)
