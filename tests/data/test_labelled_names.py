"""Label names and their order."""

import math

import pytest

from bertwire_data.labelled import label_name, label_order


@pytest.mark.parametrize(
    ("value", "name"),
    [(" spam ", "spam"), (3, "3"), (True, "true"), (False, "false"), (2.0, "2"), (0.5, None), (math.nan, None)],
)
def test_label_name(value: object, name: str | None) -> None:
    """Strings, integers, booleans and whole floats have a name; other values have none."""
    assert label_name(value) == name


def test_integers_are_ordered_by_value() -> None:
    """Labels that are all integers are in order of value, negative ones too."""
    assert label_order(["10", "-1", "2", "2"]) == ["-1", "2", "10"]


def test_names_are_in_natural_order() -> None:
    """Numbers inside names count by value, and letters without regard to case."""
    assert label_order(["class 10", "class 2", "Beta", "alpha", "3"]) == ["3", "alpha", "Beta", "class 2", "class 10"]


def test_numbers_of_any_length() -> None:
    """More digits than Python turns into an integer are still in order of value."""
    long = "9" * 5000
    assert label_order([long, "7"]) == ["7", long]
    assert label_order([f"class {long}", "class 7", "x"]) == ["class 7", f"class {long}", "x"]


def test_tags_are_ordered_by_type() -> None:
    """O comes first, then each type with B before I; what IOB2 needs is there even where no word has it."""
    assert label_order(["I-b", "B-a10", "B-a2", "I-a2"], "token_classification") == [
        *("O", "B-a2", "I-a2", "B-a10", "B-b", "I-b")
    ]
