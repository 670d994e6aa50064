"""What jobs must not replace: inputs, files of others, and each other's outputs."""

import gzip
from pathlib import Path
from typing import Any

import pytest

from bertwire_batch import EmbedConfig, ScoreConfig, Summary, embed_file, score_file
from bertwire_core.errors import UserError
from fake import FakeServer


def score(output: Path, fake: FakeServer, *inputs: Path, **options: Any) -> Summary:  # noqa: ANN401 - each its own
    """Score inputs, and replace what is there."""
    return score_file(ScoreConfig(inputs=list(inputs), output=output, server=[fake.address], overwrite=True, **options))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with two tables."""
    made = tmp_path / "in"
    made.mkdir()
    (made / "a.csv").write_text("text\none\n")
    (made / "b.csv").write_text("text\nbad\n")
    return made


def test_files_of_patterns_are_kept(folder: Path, tmp_path: Path, fake: FakeServer) -> None:
    """An output that is a file found by a pattern, or its folder, is refused."""
    with pytest.raises(UserError, match=r"a\.csv is also .*a\.csv, which it would replace"):
        score(tmp_path / "out", fake, folder / "*.csv", summary=folder / "a.csv")
    with pytest.raises(UserError, match=r"in holds .*a\.csv, which would be lost"):
        score(folder, fake, tmp_path / "i?" / "a.csv")
    assert (folder / "a.csv").read_text() == "text\none\n"
    assert sorted(each.name for each in tmp_path.iterdir()) == ["in"]


def test_files_of_others_are_kept(folder: Path, tmp_path: Path, fake: FakeServer) -> None:
    """In the folders of outputs only files of the same names are replaced, and old failed rows removed."""
    output, errors = tmp_path / "out", tmp_path / "errors"
    for each in (output, errors):
        each.mkdir()
        (each / "mine.txt").write_text("mine")
    (output / "a.csv").write_text("old")
    (errors / "a.csv").write_text("old")
    assert score(output, fake, folder, errors=errors).failed == 1
    assert sorted(each.name for each in output.iterdir()) == ["a.csv", "b.csv", "mine.txt"]
    assert (output / "a.csv").read_text() != "old"
    assert sorted(each.name for each in errors.iterdir()) == ["b.csv", "mine.txt"]
    (folder / "b.csv").write_text("text\ntwo\n")
    score(output, fake, folder, errors=errors)
    assert sorted(each.name for each in errors.iterdir()) == ["mine.txt"]


def test_wrong_kind_is_refused(folder: Path, tmp_path: Path, fake: FakeServer) -> None:
    """A folder is not replaced by a file, nor a file by a folder, and no text is sent before that is known."""
    (tmp_path / "d.csv").mkdir()
    (tmp_path / "f").write_text("mine")
    (tmp_path / "out" / "a.csv").mkdir(parents=True)
    for output, inputs, options in (
        ("d.csv", folder / "a.csv", {}),
        ("x.csv", folder / "a.csv", {"errors": tmp_path / "d.csv"}),
        ("f", folder, {}),
        ("out", folder, {}),
    ):
        with pytest.raises(UserError, match=r"is a (file|folder), and the output is a (folder|file)"):
            score(tmp_path / output, fake, inputs, **options)
    assert not fake.requests
    assert (tmp_path / "d.csv").is_dir()


def test_outputs_of_one_name(folder: Path, tmp_path: Path, fake: FakeServer) -> None:
    """Two inputs whose vectors would be one file are refused."""
    fake.model.task, fake.model.dimensions = "embedding", 4
    (folder / "a.csv.gz").write_bytes(gzip.compress(b"text\ntwo\n"))
    with pytest.raises(UserError, match=r"2 inputs would be written to a\.csv\.parquet"):
        embed_file(EmbedConfig(inputs=[folder], output=tmp_path / "out", server=[fake.address]))
    assert not (tmp_path / "out").exists()
