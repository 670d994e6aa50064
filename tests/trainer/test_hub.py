"""Hub datasets and local dataset folders."""

from pathlib import Path
from typing import Any

import datasets  # type: ignore[import-untyped]
import pytest

from bertwire_core.errors import UserError
from bertwire_data.labelled import Columns
from bertwire_trainer.hub import read_dataset


@pytest.fixture
def reviews(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Any, ...]]:
    """Stands for a hub dataset with ClassLabel numbers; gives the calls made for it."""
    features = datasets.Features({"text": datasets.Value("string"), "label": datasets.ClassLabel(names=["neg", "pos"])})
    dataset = datasets.Dataset.from_dict({"text": ["a", "b"], "label": [1, 0]}, features=features)
    calls = []

    def load_dataset(*args: Any, **options: Any) -> datasets.Dataset:  # noqa: ANN401
        calls.append((*args, options))
        return dataset

    monkeypatch.setattr(datasets, "load_dataset", load_dataset)
    return calls


def test_class_labels_become_names(reviews: list[tuple[Any, ...]]) -> None:
    """ClassLabel numbers become label names, and configuration and split reach `datasets`."""
    split = read_dataset("org/reviews", "small", "train", Columns())
    assert (split.source, split.inputs, split.targets) == ("org/reviews:train", ["a", "b"], ["pos", "neg"])
    assert reviews == [("org/reviews", "small", {"split": "train"})]


@pytest.mark.usefixtures("reviews")
def test_missing_column() -> None:
    """A column that the dataset lacks is named beside those it has."""
    with pytest.raises(UserError, match="has no column 'body'; it has 'text', 'label'"):
        read_dataset("org/reviews", None, "train", Columns("body"))


def test_local_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder of files is a dataset too; only its name is recorded, and an unknown split is one line."""
    folder = tmp_path / "mine"
    folder.mkdir()
    (folder / "train.csv").write_text("text,label\nx,a\ny,b\n")
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", str(tmp_path / "cache"))
    split = read_dataset(str(folder), None, "train", Columns())
    assert (split.source, split.targets) == ("mine:train", ["a", "b"])
    with pytest.raises(UserError, match="split nope, cannot be loaded"):
        read_dataset(str(folder), None, "nope", Columns())


def test_unlabelled_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    """The label -1, by which datasets mark unlabelled rows, is a missing value."""
    features = datasets.Features({"text": datasets.Value("string"), "label": datasets.ClassLabel(names=["a"])})
    dataset = datasets.Dataset.from_dict({"text": ["x"], "label": [-1]}, features=features)
    monkeypatch.setattr(datasets, "load_dataset", lambda *_, **__: dataset)
    with pytest.raises(UserError, match="dataset org/x, split test, has faulty rows: 1 row"):
        read_dataset("org/x", None, "test", Columns())


def test_tags_of_class_labels(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lists of ClassLabel numbers become lists of names."""
    tags = datasets.List(datasets.ClassLabel(names=["O", "B-x", "I-x"]))
    features = datasets.Features({"tokens": datasets.List(datasets.Value("string")), "ner_tags": tags})
    dataset = datasets.Dataset.from_dict({"tokens": [["a", "b", "c"]], "ner_tags": [[0, 1, 2]]}, features=features)
    monkeypatch.setattr(datasets, "load_dataset", lambda *_, **__: dataset)
    split = read_dataset("org/ner", None, "train", Columns(label="ner_tags"))
    assert (split.task, split.inputs, split.targets) == (
        *("token_classification", [["a", "b", "c"]], [["O", "B-x", "I-x"]]),
    )


def test_files_that_cannot_be_converted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A dataset whose files do not fit together is one line with the cause."""
    (tmp_path / "torn").mkdir()
    (tmp_path / "torn" / "train.jsonl").write_text('{"text": "x", "label": 1}\n{"text": \n')
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", str(tmp_path / "cache"))
    with pytest.raises(UserError, match="split train, cannot be loaded: ") as caught:
        read_dataset(str(tmp_path / "torn"), None, "train", Columns())
    assert "\n" not in str(caught.value)
    assert "An error occurred while generating" not in str(caught.value)


def test_an_error_that_says_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """An error without a message is named by its kind."""

    def fail(*_: object, **__: object) -> None:
        raise FileNotFoundError

    monkeypatch.setattr(datasets, "load_dataset", fail)
    with pytest.raises(UserError, match=r"cannot be loaded: FileNotFoundError$"):
        read_dataset("org/x", None, "train", Columns())


def test_saved_to_disk(tmp_path: Path) -> None:
    """What `save_to_disk` wrote, of several splits or of one, is read without its cache."""
    features = datasets.Features({"text": datasets.Value("string"), "label": datasets.ClassLabel(names=["neg", "pos"])})
    one = datasets.Dataset.from_dict({"text": ["a", "b"], "label": [1, 0]}, features=features)
    one.save_to_disk(tmp_path / "one")
    datasets.DatasetDict(train=one, dev=one.select([0])).save_to_disk(tmp_path / "several")
    for name, split, targets in (
        ("one", "train", ["pos", "neg"]),
        ("several", "train", ["pos", "neg"]),
        ("several", "dev", ["pos"]),
    ):
        read = read_dataset(str(tmp_path / name), None, split, Columns())
        assert (read.source, read.targets) == (f"{name}:{split}", targets)
    with pytest.raises(UserError, match=r"has no split 'test' but 'train', 'dev'$"):
        read_dataset(str(tmp_path / "several"), None, "test", Columns())
    with pytest.raises(UserError, match="has no configurations"):
        read_dataset(str(tmp_path / "one"), "small", "train", Columns())
