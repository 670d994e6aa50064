"""What train, dev and test must have, and the cut of dev."""

from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from bertwire_client.errors import UserError
from bertwire_trainer.config import TrainConfig
from bertwire_trainer.data import Data, cut, load_data
from bertwire_trainer.overlaps import overlaps
from bertwire_trainer.split import Split

WriteRows = Callable[[str, list[tuple[str, str]]], Path]


def split(*rows: tuple[str, str]) -> Split:
    return Split("rows.csv", [text for text, _ in rows], [label for _, label in rows], list(range(1, len(rows) + 1)))


def many(count: int) -> Split:
    return split(*((f"text {number}", "rare" if number % 5 == 0 else "common") for number in range(count)))


def test_cut_is_stratified_and_seeded() -> None:
    """Dev has each label's share, shares no row with train, and depends on the seed alone."""
    train, dev = cut(many(100), 0.2, seed=1)
    assert (Counter(dev.labels), Counter(train.labels)) == (
        Counter(common=16, rare=4),
        Counter(common=64, rare=16),
    )
    assert sorted(train.rows + dev.rows) == list(range(1, 101))
    assert cut(many(100), 0.2, seed=1)[1].rows == dev.rows != cut(many(100), 0.2, seed=2)[1].rows


def test_cut_of_a_label_with_one_row() -> None:
    """A label with a single row cannot be on both sides."""
    with pytest.raises(UserError, match=r"has one row only of label 'b'.*pass --dev"):
        cut(split(("x", "a"), ("y", "a"), ("z", "b")), 0.5, seed=1)


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
    """Texts on two splits and texts with two labels in train are counted, each text once."""
    train = split(("x", "a"), ("x", "b"), ("x", "a"), ("y", "b"), ("z", "a"))
    data = Data(["a", "b"], train, split(("y", "b"), ("y", "b"), ("z", "b")), split(("new", "a")))
    assert overlaps(data) == [
        "2 distinct texts are in both train and dev; quality on dev is overstated",
        "1 distinct text has more than one label in train",
    ]


def test_no_overlaps() -> None:
    """Clean data brings no warning."""
    assert overlaps(Data(["a", "b"], split(("x", "a"), ("y", "b")), split(("z", "a")), None)) == []


def test_fingerprint_depends_on_texts_labels_and_order() -> None:
    """Equal rows have equal fingerprints; a change of text, label, border or order changes it."""
    rows = [("é", "a"), ("x", "b")]
    others = [rows[::-1], [("e", "a"), rows[1]], [("é", "b"), rows[1]], [("éa", ""), rows[1]]]
    same = split(*rows).sha256()
    assert same == split(*rows).sha256()
    assert same not in {split(*other).sha256() for other in others}
