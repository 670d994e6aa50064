"""What jobs read and write: folders, patterns, compressed files, lines, standard input, failed rows."""

from __future__ import annotations

import gzip
import json
import subprocess
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import grpc
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from bertwire_batch import ScoreConfig, Summary, score_file
from bertwire_core.errors import UserError
from bertwire_core.options import validated
from bertwire_data.tables import compress, opened
from fake import FakeServer
from support import bertwire

if TYPE_CHECKING:
    pass


def score(output: Path, server: FakeServer, *inputs: Path, **options: Any) -> Summary:  # noqa: ANN401 - each its own
    """Score inputs."""
    return score_file(ScoreConfig(inputs=list(inputs), output=output, server=[server.address], **options))


def sent(fake: FakeServer) -> Counter[str]:
    """Return how often each text was sent."""
    return Counter(text for request in fake.requests for text in request.texts)


def names(folder: Path) -> list[str]:
    """Return the files below a folder."""
    return sorted(str(each.relative_to(folder)) for each in folder.rglob("*") if each.is_file())


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with tables of three formats, a hidden one and a file that is none."""
    made = tmp_path / "in"
    (made / "sub").mkdir(parents=True)
    (made / "a.csv").write_text("text,id\none,1\ntwo,2\none,3\n")
    (made / "sub" / "b.jsonl.gz").write_bytes(gzip.compress(b'{"text": "two"}\n{"text": "bad"}\n'))
    pq.write_table(pa.table({"text": ["three"]}), made / "c.parquet")
    (made / ".hidden.csv").write_text("no\n")
    (made / "README.md").write_text("no\n")
    return made


def test_folder(folder: Path, tmp_path: Path, fake: FakeServer) -> None:
    """A folder becomes one of the same names and formats; each distinct text is sent once."""
    output, errors = tmp_path / "out", tmp_path / "errors"
    summary = score(output, fake, folder, errors=errors, summary=tmp_path / "s.json", batch_size=2)
    assert (summary.rows, summary.failed, summary.texts) == (6, 1, 3)
    assert names(output) == ["a.csv", "c.parquet", "sub/b.jsonl.gz"]
    assert (sent(fake)["one"], sent(fake)["two"]) == (1, 1)
    lines = (output / "a.csv").read_text().splitlines()
    assert lines[1:] == [f"{text},short,0.9,false,,fake/7" for text in ("one,1", "two,2", "one,3")]
    rows = [json.loads(line) for line in gzip.decompress((output / "sub" / "b.jsonl.gz").read_bytes()).splitlines()]
    assert [(row["text"], row["predicted_label"]) for row in rows] == [("two", "short"), ("bad", None)]
    assert names(errors) == ["sub/b.jsonl.gz"]
    assert gzip.decompress((errors / "sub" / "b.jsonl.gz").read_bytes()) == b'{"text": "bad"}\n'
    assert json.loads((tmp_path / "s.json").read_text())["model_version"] == "7"


def test_pattern_and_files(folder: Path, tmp_path: Path, fake: FakeServer) -> None:
    """Files and patterns are read in their order; of equal names the folder must be given."""
    score(tmp_path / "out", fake, folder / "*.csv", folder / "c.parquet")
    assert names(tmp_path / "out") == ["a.csv", "c.parquet"]
    with pytest.raises(UserError, match=r"2 inputs are named a\.csv; give the folder that holds them all"):
        score(tmp_path / "other", fake, folder / "*.csv", folder / "a.csv")
    with pytest.raises(UserError, match=r"none\*\.csv has no files to read"):
        score(tmp_path / "other", fake, folder / "none*.csv")
    with pytest.raises(UserError, match=r"lies in .*in, which is read; choose another output"):
        validated(ScoreConfig, {"inputs": [folder], "output": folder / "out"})
    assert names(tmp_path / "out") == ["a.csv", "c.parquet"]
    assert not (tmp_path / "other.partial").exists()


@pytest.mark.parametrize("ending", [".gz", ".zst"])
def test_compressed_files(ending: str, tmp_path: Path, fake: FakeServer) -> None:
    """Both sides may be compressed, each by its ending; equal rows give equal bytes."""
    (tmp_path / "plain.csv").write_text("text\none\n")
    path = tmp_path / f"in.csv{ending}"
    compress(tmp_path / "plain.csv", path, ending)
    for name in ("a", "b"):
        score(tmp_path / f"{name}.csv{ending}", fake, path)
    score(tmp_path / "c.csv", fake, path)
    with opened(tmp_path / f"a.csv{ending}") as file:
        assert file.read() == (tmp_path / "c.csv").read_bytes()
    assert (tmp_path / f"a.csv{ending}").read_bytes() == (tmp_path / f"b.csv{ending}").read_bytes()
    path.write_bytes(path.read_bytes() * 2)
    assert score(tmp_path / "two.csv", fake, path).rows == 3
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(UserError, match=rf"in\.csv{ending} cannot be decompressed"):
        score(tmp_path / "d.csv", fake, path)
    assert not list(tmp_path.glob("d*"))


def test_lines(tmp_path: Path, fake: FakeServer) -> None:
    """Each line that is not blank is a text, whatever it holds; bytes that are not UTF-8 fail alone."""
    path = tmp_path / "in.log"
    path.write_bytes(b'\xef\xbb\xbfone\r\n\n"two", 3\n\xff\n')
    assert score(tmp_path / "out.jsonl", fake, path, format="lines").failed == 1
    rows = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    assert [row["text"] for row in rows] == ["one", '"two", 3', "\udcff"]
    assert [row["predicted_error"] for row in rows] == [None, None, "'text' is not UTF-8"]


def test_standard_input(tmp_path: Path, fake: FakeServer) -> None:
    """It is read to its end first, in the format that is named."""
    command = bertwire("score", "-", "--format", "csv", "--output", tmp_path / "out.csv", "--server", fake.address)
    subprocess.run(command, input=b"text\none\n", check=True)
    assert (tmp_path / "out.csv").read_text().splitlines()[1] == "one,short,0.9,false,,fake/7"
    with pytest.raises(UserError, match="standard input is read alone, and --format says what it holds"):
        validated(ScoreConfig, {"inputs": [Path("-")], "output": tmp_path / "out.csv"})


def parquet(path: Path, texts: list[str]) -> None:
    pq.write_table(pa.table({"id": range(len(texts)), "text": texts}), path)


def csv(path: Path, texts: list[str]) -> None:
    path.write_text("id,text\n" + "".join(f"{index},{text}\n" for index, text in enumerate(texts)))


@pytest.mark.parametrize(("ending", "write"), [(".parquet", parquet), (".csv", csv)])
def test_failed_rows_can_be_scored_again(
    ending: str, write: Callable[[Path, list[str]], None], tmp_path: Path, fake: FakeServer
) -> None:
    """They are written as they were read; a file of an earlier run goes where no row fails."""
    path, errors = tmp_path / f"in{ending}", tmp_path / f"errors{ending}"
    write(path, ["one", "bad", "two", "bad too"])
    fake.fail = lambda request: (grpc.StatusCode.UNKNOWN, "oh") if "two" in request.texts else None
    summary = score(tmp_path / f"out{ending}", fake, path, errors=errors, batch_size=1)
    assert summary.failed == 3
    fake.fail = lambda _: None
    assert score(tmp_path / f"again{ending}", fake, errors, batch_size=1).rows == 3
    if ending == ".csv":
        assert errors.read_text() == "id,text\n1,bad\n2,two\n3,bad too\n"
    else:
        assert pq.read_table(errors).to_pylist()[0] == {"id": 1, "text": "bad"}
    write(path, ["one"])
    score(tmp_path / f"out{ending}", fake, path, errors=errors, overwrite=True)
    assert not errors.exists()


@pytest.mark.parametrize("ending", [".parquet", ".csv", ".jsonl"])
def test_only_new(ending: str, tmp_path: Path, fake: FakeServer, capsys: pytest.CaptureFixture[str]) -> None:
    """Rows of the earlier output are as they were there; failed ones and those of another version are sent again."""
    texts = ["one", "bad", "two", "a text of many more words"]
    path, output = tmp_path / f"in{ending}", tmp_path / f"out{ending}"

    def write() -> None:
        if ending == ".jsonl":
            path.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
        else:
            (parquet if ending == ".parquet" else csv)(path, texts)

    write()
    fake.model.task = "multi_label"
    score(output, fake, path, all_scores=True)
    before = output.read_bytes()
    fake.requests.clear()
    score(output, fake, path, all_scores=True, overwrite=True, only_new=output)
    assert output.read_bytes() == before
    assert set(sent(fake)) == {"bad"}
    assert f"3 rows of {output} are not asked for again" in " ".join(capsys.readouterr().err.split())
    fake.requests.clear()
    texts.append("new")
    write()
    score(output, fake, path, all_scores=True, overwrite=True, only_new=output)
    assert set(sent(fake)) == {"bad", "new"}
    fake.requests.clear()
    fake.model.version = "8"
    score(output, fake, path, all_scores=True, overwrite=True, only_new=output)
    assert set(sent(fake)) == set(texts)


def test_several_servers(tmp_path: Path, fake: FakeServer, capsys: pytest.CaptureFixture[str]) -> None:
    """Each takes what it can; one that goes away, or was never there, is done without."""
    path = tmp_path / "in.csv"
    csv(path, [str(index) for index in range(100)])
    other, away = FakeServer(), FakeServer()
    away.stop()
    other.fail = lambda _: None if len(other.requests) <= 3 else (grpc.StatusCode.UNAVAILABLE, "going down")
    servers = [each.address for each in (fake, other, away)]
    config: dict[str, Any] = {"inputs": [path], "batch_size": 2, "concurrency": 2, "max_outage": 0.1, "timeout": 5}
    summary = score_file(ScoreConfig(output=tmp_path / "out.csv", server=servers, **config))
    other.stop()
    assert (summary.rows, summary.failed, summary.texts) == (100, 0, 100)
    assert len(other.requests) > 3
    said = " ".join(capsys.readouterr().err.split())
    assert f"going on without the server at {other.address}: the server at {other.address} took no call" in said
    assert f"going on without the server at {away.address}: no server answers" in said
    with pytest.raises(UserError, match="no server answers"):
        score_file(ScoreConfig(output=tmp_path / "no.csv", server=[away.address], **config))


def test_bundle_is_no_server() -> None:
    """Options of servers are refused beside it."""
    given = {"inputs": [Path("a.csv")], "output": Path("b.csv"), "bundle": Path("c"), "server": ["d:1"]}
    with pytest.raises(UserError, match="--server is for a server; leave it out with --bundle"):
        validated(ScoreConfig, given)
