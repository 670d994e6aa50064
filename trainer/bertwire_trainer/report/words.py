"""TF-IDF of texts: what a model without an encoder reads."""

import unicodedata
from collections.abc import Sequence
from typing import Any

import numpy

# Terms at most, the most frequent. With half as many, rare words that tell classes apart are lost from some 10,000
# texts on.
_MOST_TERMS = 100_000
# Texts by which the script is told, and characters of each; halved, nothing breaks.
_TEXTS, _CHARACTERS = 500, 200
# Scripts that are written without spaces, as the Unicode names of their letters begin.
_UNSPACED = ("CJK", "HIRAGANA", "KATAKANA", "THAI", "LAO", "KHMER", "MYANMAR", "TIBETAN")


def vectorizer(texts: Sequence[str]) -> Any:  # noqa: ANN401 - scikit-learn has no types
    """Return scikit-learn's TF-IDF for texts like these: words and pairs of them, or one to three characters."""
    from sklearn.feature_extraction.text import TfidfVectorizer

    by_character = {"analyzer": "char", "ngram_range": (1, 3)}
    # scikit-learn's own pattern leaves out words of one letter.
    by_word = {"ngram_range": (1, 2), "token_pattern": r"(?u)\b\w+\b"}
    terms = by_character if _unspaced(texts) else by_word
    return TfidfVectorizer(**terms, sublinear_tf=True, max_features=_MOST_TERMS, dtype=numpy.float32)


def _unspaced(texts: Sequence[str]) -> bool:
    """Return whether more than half of the letters are of a script that is written without spaces."""
    letters = [each for text in texts[:_TEXTS] for each in text[:_CHARACTERS] if each.isalpha()]
    unspaced = sum(unicodedata.name(each, "").startswith(_UNSPACED) for each in letters)
    return 2 * unspaced > len(letters)
