"""What train, dev and test must have, and the cut of dev."""

import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bertwire_core.errors import UserError
from bertwire_core.tasks import Task
from bertwire_data.labelled import Labelled
from bertwire_trainer.config import TrainConfig
from bertwire_trainer.data import Data, cut, load_data
from bertwire_trainer.overlaps import overlaps

WriteRows = Callable[[str, list[tuple[str, str]]], Path]


def split(*rows: tuple[str, str]) -> Labelled:
    texts, labels = [text for text, _ in rows], [label for _, label in rows]
    return Labelled("rows.csv", "single_label", texts, labels, list(range(1, len(rows) + 1)))


def many(count: int) -> Labelled:
    return split(*((f"text {number}", "rare" if number % 5 == 0 else "common") for number in range(count)))


def test_cut_is_stratified_and_seeded() -> None:
    """Dev has each label's share, shares no row with train, and depends on the seed alone."""
    train, dev = cut(many(100), 0.2, seed=1)
    assert (Counter(dev.names()), Counter(train.names())) == (
        Counter(common=16, rare=4),
        Counter(common=64, rare=16),
    )
    assert sorted(train.rows + dev.rows) == list(range(1, 101))
    assert cut(many(100), 0.2, seed=1)[1].rows == dev.rows != cut(many(100), 0.2, seed=2)[1].rows


def test_cut_of_a_label_with_one_row() -> None:
    """A label with a single row cannot be on both sides; one that is spelt almost alike is named."""
    with pytest.raises(UserError, match=r"has one row only of label 'b'.*pass --dev"):
        cut(split(("x", "a"), ("y", "a"), ("z", "b")), 0.5, seed=1)
    with pytest.raises(
        UserError, match=r"only of label 'B'.*correct it if 'b' is meant, which differs by case or spac"
    ):
        cut(split(("x", "b"), ("y", "b"), ("z", "B")), 0.5, seed=1)


def test_cut_of_too_few_rows() -> None:
    """A cut that leaves train with fewer rows than labels is refused."""
    with pytest.raises(UserError, match="has 4 rows, too few to cut a dev split"):
        cut(split(("w", "a"), ("x", "a"), ("y", "b"), ("z", "b")), 0.9, seed=1)


def test_one_label_only(write_rows: WriteRows, tmp_path: Path) -> None:
    """Train with one label is refused."""
    train = write_rows("train.jsonl", [("x", "a"), ("y", "a")])
    with pytest.raises(UserError, match=r"train.jsonl has one label only, 'a'"):
        load_data(TrainConfig(train=train, output=tmp_path / "out"))


@pytest.mark.parametrize("name", ["dev", "test"])
def test_label_that_train_lacks(write_rows: WriteRows, tmp_path: Path, name: str) -> None:
    """A label of dev or test that train lacks is named with its rows counted and the first one given."""
    train = write_rows("train.jsonl", [("x", "a"), ("y", "b")])
    other = write_rows("other.jsonl", [("z", "a"), ("u", "c"), ("v", "d"), ("w", "c")])
    config = TrainConfig.model_validate({"train": train, name: other, "output": tmp_path / "out"})
    with pytest.raises(UserError, match=r"other.jsonl has label 'c' \(and 1 more such label\).* in 3 rows.* row 2;"):
        load_data(config)


def test_overlaps_are_counted() -> None:
    """Texts on two splits are counted, each text once."""
    train = split(("x", "a"), ("y", "b"), ("z", "a"))
    data = Data(["a", "b"], train, split(("y", "b"), ("y", "b"), ("z", "b")), split(("new", "a")), {})
    assert overlaps(data) == [
        "2 distinct texts are in both train and dev; quality on dev is overstated",
    ]


def test_no_overlaps() -> None:
    """Clean data brings no warning."""
    assert overlaps(Data(["a", "b"], split(("x", "a"), ("y", "b")), split(("z", "a")), None, {})) == []


def rows_of(task: Task, inputs: list[Any], targets: list[Any]) -> Labelled:
    return Labelled("rows.jsonl", task, inputs, targets, list(range(1, len(inputs) + 1)))


@pytest.mark.parametrize(
    ("task", "targets"),
    [
        ("multi_label", [["a"], ["b"], [], ["rare"]]),
        ("token_classification", [["O"], ["B-x"], ["O"], ["O"]]),
        ("regression", [0.1, 0.2, 0.3, 0.4]),
    ],
)
def test_cut_without_strata(task: Task, targets: list[Any]) -> None:
    """Where a text has no single label, dev is cut at random, by the seed, with at least two rows on either side."""
    inputs = [["w"]] * 40 if task == "token_classification" else ["x"] * 40
    labelled = rows_of(task, inputs, targets * 10)
    train, dev = cut(labelled, 0.2, seed=1)
    assert (len(train), len(dev)) == (32, 8)
    assert sorted(train.rows + dev.rows) == list(range(1, 41))
    assert cut(labelled, 0.2, seed=1)[1].rows == dev.rows != cut(labelled, 0.2, seed=2)[1].rows
    assert len(cut(labelled, 0.01, seed=1)[1]) == 2
    with pytest.raises(UserError, match="has 3 rows, too few to cut a dev split;"):
        cut(labelled.take([0, 1, 2]), 0.5, seed=1)


def test_overlaps_of_every_kind() -> None:
    """Pairs and words are compared whole."""
    several = rows_of("multi_label", [("x", "y"), ("x", "z")], [["a", "b"], ["a"]])
    assert overlaps(Data(["a", "b"], several, several.take([1]), None, {})) == [
        "1 distinct text is in both train and dev; quality on dev is overstated"
    ]
    tags = rows_of("token_classification", [["x", "y"]], [["O", "B-a"]])
    other = rows_of("token_classification", [["x y"]], [["O"]])
    assert overlaps(Data(["O", "B-a"], tags, other, None, {})) == []


def load(tmp_path: Path, rows: list[dict[str, Any]], **options: Any) -> Data:  # noqa: ANN401 - any option
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return load_data(TrainConfig(train=path, dev=path, output=tmp_path / "out", **options))


def test_the_task_that_was_found_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Anything but one label a text is said in one line, unless the task was given."""
    rows = [{"text": "x", "labels": ["a"]}, {"text": "y", "labels": []}]
    assert load(tmp_path, rows).labels == ["a"]
    assert capsys.readouterr().err == (
        "rows.jsonl: columns 'text' and 'labels' look like multi_label; --task chooses another\n"
    )
    load(tmp_path, rows, task="multi_label")
    load(tmp_path, [{"text": "x", "label": "a"}, {"text": "y", "label": "b"}])
    assert capsys.readouterr().err == ""


def test_regression_is_named_after_its_column(tmp_path: Path) -> None:
    """The one output of a regression has the name of the label column."""
    data = load(tmp_path, [{"text": "x", "stars": 1}, {"text": "y", "stars": 4.5}], label_column="stars")
    assert (data.task, data.labels, data.targets["train"].tolist()) == ("regression", ["stars"], [1.0, 4.5])


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"text": "x", "labels": []}, "has no text with a label"),
        ({"tokens": ["x"], "tags": ["O"]}, "has the tag 'O' only"),
        ({"text": "x", "label": 0.5}, r"has one number only, 0\.5"),
    ],
)
def test_nothing_to_learn(tmp_path: Path, row: dict[str, Any], message: str) -> None:
    """Rows that are all labelled alike are refused."""
    with pytest.raises(UserError, match=message):
        load(tmp_path, [row, row])


def test_pairs_beside_single_texts(write_rows: WriteRows, tmp_path: Path) -> None:
    """Splits must all have a second text or all have none."""
    train = tmp_path / "pairs.jsonl"
    train.write_text('{"text": "x", "text_pair": "y", "label": 1}\n{"text": "x", "text_pair": "z", "label": 2}\n')
    single = write_rows("single.jsonl", [("x", "1"), ("y", "2")])
    with pytest.raises(UserError, match=r"pairs.jsonl has pairs of texts and single.jsonl single texts"):
        load_data(TrainConfig(train=train, dev=single, output=tmp_path / "out"))
    with pytest.raises(UserError, match=r"single.jsonl has single texts and pairs.jsonl pairs of texts"):
        load_data(TrainConfig(train=single, dev=train, output=tmp_path / "out"))
