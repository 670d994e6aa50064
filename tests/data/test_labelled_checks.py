"""What is said about odd rows, and that nothing is said about others."""

from typing import Any

import pytest

from bertwire_core.tasks import Task
from bertwire_data.labelled import Labelled, oddities


def rows(inputs: list[Any], targets: list[Any], task: Task = "single_label") -> Labelled:
    # Row numbers as in a workbook, where the first is 2.
    return Labelled("rows.csv", task, inputs, targets, list(range(2, len(inputs) + 2)))


def test_nothing_odd() -> None:
    assert oddities(rows(["w", "x", "y", "z"], ["a", "b", "a", "b"]), "train") == []


def test_labels_that_look_alike() -> None:
    """Case, inner space and the form of an accent tell no two labels apart for a reader; each group is named."""
    labels = ["Good", "good", "good", "very  bad", "very bad", "café", "cafe\u0301", "other", "other"]
    one = "(1 example, too few to learn)"
    assert oddities(rows(list("abcdefghi"), labels), "train") == [
        "labels of train that differ by case or space alone are learned as different ones: "
        f"'Good' {one} and 'good' (2 examples), 'very  bad' {one} and 'very bad' {one}, "
        f"'cafe\u0301' {one} and 'café' {one}; spell them alike if they mean the same"
    ]
    tags = rows([["x", "y"]] * 2, [["B-A", "B-a"], ["B-a ", "B-A"]], "token_classification")
    assert "'B-A' (2 examples) and 'B-a' (1 example, too few to learn) and 'B-a ' (1" in oddities(tags, "train")[0]


def test_labels_with_one_example() -> None:
    """Five are named, the others counted; of tags those that begin an entity."""
    (line,) = oddities(rows(list("abcdefghi"), ["x", "x", *"tuvwyzr"]), "train")
    assert line == "labels with a single example in train, too few to learn: 'r', 't', 'u', 'v', 'w' and 2 more"
    tags = rows([["x"], ["y"], ["u", "v"]], [["O"], ["B-a"], ["B-a", "I-a"]], "token_classification")
    assert oddities(tags, "train") == []
    several = rows(["x", "y"], [["a", "b"], ["a"]], "multi_label")
    assert oddities(several, "train") == ["labels with a single example in train, too few to learn: 'b'"]


def test_repeated_and_contradicting_texts() -> None:
    """Repeats are counted; of contradicting texts the first two rows are named, of five texts at most."""
    texts = ["a", "a", "b", "b", "b", *(each for each in "cdefg" for _ in range(2))]
    labels = ["x", "x", "x", "y", "x", *(each for _ in range(5) for each in "xy")]
    assert oddities(rows(texts, labels), "train") == [
        "2 rows of train repeat the text and label of an earlier row",
        "6 distinct texts are labelled in more than one way in train: "
        "rows 4 and 5, 7 and 8, 9 and 10, 11 and 12, 13 and 14 and 1 more",
    ]


@pytest.mark.parametrize(
    ("task", "inputs", "targets", "said"),
    [
        ("multi_label", [("x", "y")] * 2, [["a", "b"], ["b", "a"]], "1 row of train repeats the text"),
        ("multi_label", [("x", "y"), ("x", "z")], [["a"], ["a", "b"]], None),
        ("token_classification", [["x", "y"]] * 2, [["O", "B-a"], ["B-a", "O"]], "in train: rows 2 and 3"),
        ("token_classification", [["x", "y"], ["x y"]], [["O", "B-a"], ["B-a"]], None),
        ("regression", ["x", "x"], [1.0, 1.5], "1 distinct text is labelled in more than one way"),
        ("regression", ["x", "x"], [1.0, 1.0], "1 row of train repeats the text and label of an earlier row"),
    ],
)
def test_repeats_of_every_task(task: Task, inputs: list[Any], targets: list[Any], said: str | None) -> None:
    """Pairs and words are compared whole; labels of a text have no order, tags have."""
    found = [line for line in oddities(rows(inputs, targets, task), "train") if "single example" not in line]
    assert [said in line for line in found] == [True] if said else found == []
