"""Words by which texts mention groups of people."""

import json
import re
from pathlib import Path

from bertwire_core.errors import UserError
from bertwire_trainer.trust.options import BUILTIN

# By kind and group, in English and lower case. Short on purpose: a word that also means something else finds texts of
# nobody.
_BUILTIN: dict[str, dict[str, list[str]]] = {
    "gender": {
        "women": ["woman", "women", "female", "girl", "girls", "she", "her", "hers", "mother", "wife", "daughter"],
        "men": ["man", "men", "male", "boy", "boys", "he", "him", "his", "father", "husband", "son"],
        "nonbinary": ["nonbinary", "non-binary", "genderqueer", "transgender", "trans"],
    },
    "religion": {
        "Christian": ["christian", "christians", "church", "catholic", "catholics", "protestant", "bible", "priest"],
        "Muslim": ["muslim", "muslims", "islam", "islamic", "mosque", "quran", "koran", "imam"],
        "Jewish": ["jew", "jews", "jewish", "judaism", "synagogue", "torah", "rabbi"],
        "Hindu": ["hindu", "hindus", "hinduism"],
        "Buddhist": ["buddhist", "buddhists", "buddhism"],
        "atheist": ["atheist", "atheists", "atheism"],
    },
    "nationality": {
        "American": ["american", "americans"],
        "Arab": ["arab", "arabs", "arabic"],
        "British": ["british", "briton", "britons"],
        "Chinese": ["chinese"],
        "French": ["french"],
        "German": ["german", "germans"],
        "Indian": ["indian", "indians"],
        "Mexican": ["mexican", "mexicans"],
        "Nigerian": ["nigerian", "nigerians"],
        "Russian": ["russian", "russians"],
        "Turkish": ["turkish", "turk", "turks"],
    },
}

Terms = dict[str, dict[str, list[str]]]


def read_terms(asked: str | None) -> Terms:
    """Return by kind and group the words; none where no terms are asked for.

    Raises:
        UserError: the file is no JSON object of lists of words.
    """
    if asked is None:
        return {}
    if asked == BUILTIN:
        return _BUILTIN
    path = Path(asked)
    if not path.is_file():
        raise UserError(f"--identity-terms {asked}: no such file; {BUILTIN} is the list of bertwire")
    try:
        found = json.loads(path.read_bytes())
    except ValueError as error:
        raise UserError(f"--identity-terms {path}: no JSON in UTF-8: {error}") from error
    if not isinstance(found, dict) or not found or not all(map(_are_words, found.values())):
        raise UserError(
            f"--identity-terms {path} is no JSON object of group names and lists of words, such as "
            '{"nurses": ["nurse", "nurses"]}'
        )
    return {"identity terms": found}


def _are_words(value: object) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(each, str) and each.strip() for each in value)


def mentions(text: str, words: list[str]) -> bool:
    """Return whether a text has one of the words as a whole, whatever its case."""
    alternatives = "|".join(re.escape(each.strip()) for each in words)
    return re.search(rf"(?<!\w)(?:{alternatives})(?!\w)", text, re.IGNORECASE) is not None
