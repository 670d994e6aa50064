"""Small edits of texts."""

from random import Random

import pytest

from bertwire_trainer.trust.edits import EDITS, edited
from bertwire_trainer.trust.first_names import FIRST_NAMES


def edit(name: str, given: "str | tuple[str, str] | list[str]", seed: int = 0) -> "str | tuple[str, str] | list[str]":
    return edited(given, EDITS[name].edit, Random(seed))  # noqa: S311 - no secret


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("lower case", "The ÉCOLE", "the école"),
        ("upper case", "The école", "THE ÉCOLE"),
        ("no punctuation", "Don't, he said: “no”!", "Dont he said no"),
        ("no punctuation", "?!", "?!"),
        ("spaces around", "a", "  a  "),
        ("negation added", "It is good and was bad", "It is not good and was bad"),
        ("negation added", "It isn't and was not good", "It isn't and was not good"),
        ("negation added", "Good", "Good"),
        ("typo, two letters swapped", "it abcd", "it acbd"),
        ("typo, two letters swapped", "noon is moon", "noon is moon"),
        ("typo, two letters swapped", "one two 12345", "one two 12345"),
        ("other first names", "Nobody is here", "Nobody is here"),
        ("other numbers", "none", "none"),
    ],
)
def test_texts(name: str, text: str, expected: str) -> None:
    """Edits that leave no choice give one text; a text that has nothing to edit stays as it is."""
    assert edit(name, text) == expected


def test_neighbouring_key() -> None:
    """One letter after the first becomes a neighbour on the keyboard, in its case."""
    assert {edit("typo, neighbouring key", "APES", seed) for seed in range(60)} == {
        *("AOES", "APWS", "APRS", "APEA", "APED")
    }


def test_names() -> None:
    """A name becomes another of its list, the same one wherever it stands; parts of words are no names."""
    words = str(edit("other first names", "Anna and Annabel saw Anna with John")).split()
    women, men = FIRST_NAMES
    assert words[1:4] == ["and", "Annabel", "saw"]
    assert words[0] == words[4] != "Anna"
    assert words[0] in women
    assert words[6] in set(men) - {"John"}


def test_numbers() -> None:
    """A number becomes another of as many digits."""
    for seed in range(20):
        first, second = str(edit("other numbers", "7 of 1,200", seed)).split(" of ")
        assert first in set("12345689")
        assert second[0] in set("23456789")
        assert (second[1], len(second)) == (",", 5)


def test_pairs_and_words() -> None:
    """Both texts of a pair are edited; a list of words keeps their number."""
    assert edit("upper case", ("a", "b")) == ("A", "B")
    assert edit("typo, two letters swapped", ["it", "abcd", "is"]) == ["it", "acbd", "is"]
    words = edit("other first names", ["Anna", "is", "Mary"])
    assert len(words) == 3
    assert all(spec.by_word for name, spec in EDITS.items() if "case" in name or "typo" in name)


def test_same_seed_same_text() -> None:
    """The seed decides."""
    text = "several words that have many letters, Anna and 4711"
    for name in EDITS:
        assert edit(name, text, 5) == edit(name, text, 5)
