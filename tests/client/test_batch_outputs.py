"""What jobs must not replace: inputs, files of others, and each other's outputs."""

import gzip
import io
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import grpc
import pytest

from bertwire_batch import EmbedConfig, ScoreConfig, Summary, embed_file, score_file
from bertwire_core.errors import UserError
from bertwire_core.options import validated
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


def test_earlier_outputs_that_do_not_fit(tmp_path: Path, fake: FakeServer) -> None:
    """An edited score and a column of other options are refused in one line."""
    path, earlier, output = tmp_path / "in.jsonl", tmp_path / "earlier.jsonl", tmp_path / "out.jsonl"
    path.write_text('{"text": "one"}\n')
    score(earlier, fake, path)
    with pytest.raises(UserError, match=r"earlier\.jsonl, row 1: there is no 'predicted_scores'"):
        score(output, fake, path, all_scores=True, only_new=earlier)
    earlier.write_text(earlier.read_text().replace("0.9", '"0,9"'))
    with pytest.raises(UserError, match=r"earlier\.jsonl, row 1: 'predicted_score' is '0,9', which is no float"):
        score(output, fake, path, only_new=earlier)


def test_earlier_output_of_another_threshold(tmp_path: Path, fake: FakeServer) -> None:
    """Its column of the model names the threshold; it is taken for the same one alone."""
    path, earlier = tmp_path / "in.jsonl", tmp_path / "earlier.jsonl"
    path.write_text('{"text": "one"}\n')
    score(earlier, fake, path, threshold=0.95)
    assert '"predicted_model": "fake/7 threshold=0.95"' in earlier.read_text()
    for threshold, asked in ((0.95, 0), (0.9, 1), (None, 1)):
        fake.requests.clear()
        score(tmp_path / "out.jsonl", fake, path, only_new=earlier, threshold=threshold)
        assert len(fake.requests) == asked


def test_standard_input_beside_an_earlier_output_of_its_name(
    tmp_path: Path, fake: FakeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The copies of both are apart."""
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b'{"text": "one"}\n{"text": "two"}\n')))
    (tmp_path / "in.jsonl").write_text('{"text": "one"}\n')
    earlier = tmp_path / "stdin.jsonl.gz"
    score(earlier, fake, tmp_path / "in.jsonl")
    fake.requests.clear()
    assert score(tmp_path / "out.jsonl", fake, Path("-"), format="jsonl", only_new=earlier).rows == 2
    assert [text for request in fake.requests for text in request.texts] == ["two"]


def test_options_without_effect() -> None:
    """Those of servers beside a bundle, and failed rows in another format, are refused."""
    given: dict[str, Any] = {"inputs": [Path("a.csv")], "output": Path("b.csv"), "bundle": Path("c")}
    for option, value in (("timeout", 1), ("max_outage", 1), ("api_key_file", Path("k")), ("tls_ca", Path("k"))):
        with pytest.raises(UserError, match=f"--{option.replace('_', '-')} is for a server"):
            validated(ScoreConfig, given | {option: value})
    with pytest.raises(UserError, match=r"the input's format, CSV; give failed\.parquet that ending"):
        validated(EmbedConfig, given | {"output": Path("b.parquet"), "errors": Path("failed.parquet")})


def test_locked_answers_are_not_damaged(folder: Path, tmp_path: Path, fake: FakeServer) -> None:
    """The line says what is wrong, and the answers stay."""
    fake.fail = lambda _: (grpc.StatusCode.PERMISSION_DENIED, "no") if len(fake.requests) > 1 else None
    with pytest.raises(UserError, match="no"):
        score(tmp_path / "out", fake, folder, batch_size=1, concurrency=1)
    answers = tmp_path / "out.partial" / "answers.sqlite"
    with closing(sqlite3.connect(answers)) as other:
        other.execute("BEGIN EXCLUSIVE")
        with pytest.raises(UserError, match=r"answers\.sqlite cannot be used now: database is locked"):
            score(tmp_path / "out", fake, folder)
    assert answers.exists()
