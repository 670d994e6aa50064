"""Label names and their order."""

import math

import pytest

from bertwire_trainer.labels import label_name, label_order


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
