"""Jobs that are stopped in every way, and go on."""

from __future__ import annotations

import json
import sqlite3
import subprocess
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from threading import Event
from typing import TYPE_CHECKING, Any

import grpc
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from bertwire_batch import EmbedConfig, ScoreConfig, Summary, embed_file, score_file
from bertwire_batch.answers import Answers
from bertwire_batch.estimate import Estimate
from bertwire_core.errors import UserError
from fake import FakeServer
from support import bertwire

if TYPE_CHECKING:
    from bertwire.v1 import classifier_pb2 as pb

ROWS = 40


def score(path: Path, *servers: FakeServer, **options: Any) -> Summary:  # noqa: ANN401 - each its own type
    """Score a file to `out` beside it, in calls of two texts, one at a time."""
    given: dict[str, Any] = {
        "inputs": [path],
        "output": path.with_name("out" + path.suffix),
        "server": [each.address for each in servers],
        "batch_size": 2,
        "concurrency": 1,
    }
    return score_file(ScoreConfig(**(given | options)))


def table(folder: Path, ending: str) -> Path:
    """Write a table of distinct texts, one of which is invalid and one blank."""
    path = folder / f"in{ending}"
    texts = [f"text {index}" for index in range(ROWS)]
    texts[7], texts[30] = "so bad", " "
    if ending == ".parquet":
        pq.write_table(pa.table({"id": range(ROWS), "text": texts}), path)
    elif ending == ".csv":
        path.write_text("id,text\n" + "".join(f'{index},"{text}"\n' for index, text in enumerate(texts)))
    else:
        path.write_text("".join(json.dumps({"id": index, "text": text}) + "\n" for index, text in enumerate(texts)))
    return path


def stopped(path: Path, fake: FakeServer, after: int, **options: Any) -> None:  # noqa: ANN401 - as above
    """Score a file until the server has answered so many calls and refuses all others."""
    fake.fail = lambda _: None if len(fake.requests) <= after else (grpc.StatusCode.PERMISSION_DENIED, "enough")
    with pytest.raises(UserError, match="enough"):
        score(path, fake, **options)
    fake.fail = lambda _: None
    fake.requests.clear()


@pytest.mark.parametrize("ending", [".csv", ".jsonl", ".parquet"])
def test_output_after_kills_is_that_of_an_undisturbed_run(ending: str, tmp_path: Path, fake: FakeServer) -> None:
    """The same command goes on after each SIGKILL, asks for no kept answer again, and leaves nothing else behind."""
    path = table(tmp_path, ending)
    output, whole = tmp_path / f"out{ending}", tmp_path / f"whole{ending}"
    assert score(path, fake, output=whole).failed == 2
    running: list[subprocess.Popen[bytes]] = []
    left = 2
    fake.requests.clear()

    def kill(_: pb.ClassifyRequest) -> None:
        nonlocal left
        # The first call is on disk before the third is sent.
        if left and len(fake.requests) % 5 == 0:
            left -= 1
            running[-1].kill()

    fake.fail = kill
    options = ["--output", output, "--server", fake.address, "--batch-size", 2, "--concurrency", 1]
    while not output.exists():
        running.append(subprocess.Popen(bertwire("score", path, *options)))
        running[-1].wait(60)
    assert [each.returncode for each in running] == [-9, -9, 1]
    assert output.read_bytes() == whole.read_bytes()
    assert [text for request in fake.requests for text in request.texts].count("text 0") == 1
    assert sorted(each.name for each in tmp_path.iterdir()) == sorted([path.name, output.name, whole.name])


def test_server_that_is_killed_and_comes_back(
    tmp_path: Path, fake: FakeServer, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Every row has its answer, and it is said that the server is waited for."""
    monkeypatch.setattr("bertwire_batch.caller.TOLD_SECONDS", 0)
    path = table(tmp_path, ".jsonl")
    reached, gone = Event(), Event()

    def fail(_: pb.ClassifyRequest) -> None:
        if len(fake.requests) == 5:
            reached.set()
            gone.wait(60)

    fake.fail = fail
    with ThreadPoolExecutor() as executor:
        scoring = executor.submit(score, path, fake)
        assert reached.wait(60)
        gone.set()
        fake.stop()
        other = FakeServer(fake.address)
        assert scoring.result(60).failed == 2
        other.stop()
    rows = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    assert [row["id"] for row in rows] == list(range(ROWS))
    said = capsys.readouterr().err.splitlines()
    (waits,) = (place for place, line in enumerate(said) if "takes no call (" in line)
    assert said[waits].startswith(f"the server at {fake.address} takes no call (")
    assert said[waits].endswith("; waiting for it, 60 s at most")
    assert f"the server at {fake.address} answers again" in said[waits:]


def test_goes_on_before_its_server_is_back(tmp_path: Path, fake: FakeServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run that has answers waits for the server, as it would have without being stopped."""
    path, tried = table(tmp_path, ".jsonl"), Event()
    stopped(path, fake, 3)
    fake.stop()

    def pause(_: int) -> float:
        tried.set()
        return 0.05

    monkeypatch.setattr("bertwire_batch.caller.pause", pause)
    with ThreadPoolExecutor() as executor:
        scoring = executor.submit(score, path, fake)
        assert tried.wait(60)
        other = FakeServer(fake.address)
        assert scoring.result(60).failed == 2
        other.stop()


def test_goes_on_where_another_input_has_the_texts(
    tmp_path: Path, fake: FakeServer, capsys: pytest.CaptureFixture[str]
) -> None:
    """Answers are kept by text, so an input that has grown is no other one; it is said how many there are."""
    path = table(tmp_path, ".jsonl")
    stopped(path, fake, 3)
    with path.open("a") as file:
        file.write('{"text": "one more"}\n')
    summary = score(path, fake)
    assert (summary.rows, summary.texts) == (ROWS + 1, ROWS + 1 - 2 - 6)
    assert "going on with 6 texts that are answered already" in capsys.readouterr().err.splitlines()
    assert not (tmp_path / "out.jsonl.partial").exists()


def test_other_options_do_not_go_on(tmp_path: Path, fake: FakeServer) -> None:
    """One line says what differs and what to do; the folder stays."""
    path = table(tmp_path, ".jsonl")
    stopped(path, fake, 3)
    with pytest.raises(UserError, match=r"out\.jsonl\.partial holds .* with threshold null and not 0\.5; repeat its"):
        score(path, fake, threshold=0.5)
    fake.model.version = "8"
    with pytest.raises(UserError, match='with version "7" and not "8"; repeat its command to go on, or remove'):
        score(path, fake)
    fake.model.version = "7"
    assert score(path, fake).failed == 2


def test_version_that_is_gone(tmp_path: Path, fake: FakeServer) -> None:
    """The run asks for the version by which it began, and says that it is not there."""
    path = table(tmp_path, ".jsonl")
    fake.model.name = "x"
    stopped(path, fake, 3)
    with pytest.raises(UserError, match=r"NOT_FOUND: .*serve version 7 of x again, .* or remove .*out\.jsonl\.partial"):
        score(path, fake)


def test_folder_in_the_way(tmp_path: Path, fake: FakeServer) -> None:
    """What is no unfinished run's is not touched."""
    path = table(tmp_path, ".jsonl")
    (tmp_path / "out.jsonl.partial").mkdir()
    (tmp_path / "out.jsonl.partial" / "mine").touch()
    with pytest.raises(UserError, match=r"out\.jsonl\.partial is in the way"):
        score(path, fake)
    (tmp_path / "out.jsonl.partial" / "mine").rename(tmp_path / "out.jsonl.partial" / "answers.sqlite")
    (tmp_path / "out.jsonl.partial" / "answers.sqlite").write_text("mine")
    with pytest.raises(UserError, match=r"out\.jsonl\.partial is damaged \(.*\); remove it to start anew"):
        score(path, fake)
    assert (tmp_path / "out.jsonl.partial" / "answers.sqlite").read_text() == "mine"


def test_failed_text_is_tried_again_before_its_row_is_written(tmp_path: Path, fake: FakeServer) -> None:
    """A failure that passes is not in the output."""
    failures = iter([(grpc.StatusCode.UNKNOWN, "oh")])
    fake.fail = lambda request: next(failures, None) if "text 3" in request.texts else None
    assert score(table(tmp_path, ".csv"), fake).failed == 2
    assert "oh" not in (tmp_path / "out.csv").read_text()


def test_vectors_go_on(tmp_path: Path, fake: FakeServer) -> None:
    """The job of `bertwire embed` keeps what it has too."""
    fake.model.task, fake.model.dimensions = "embedding", 4
    path, output = table(tmp_path, ".csv"), tmp_path / "out.parquet"
    given: dict[str, Any] = {"inputs": [path], "server": [fake.address], "batch_size": 2}
    embed_file(EmbedConfig(output=tmp_path / "whole.parquet", **given))
    fake.embedded.clear()
    (tmp_path / "out.parquet.partial").mkdir()
    summary = embed_file(EmbedConfig(output=output, **given))
    assert (summary.rows, summary.failed) == (ROWS, 2)
    assert output.read_bytes() == (tmp_path / "whole.parquet").read_bytes()
    assert pq.read_schema(output).metadata[b"bertwire.model"] == b"fake/7"


def test_output_of_a_run_killed_at_its_end(tmp_path: Path, fake: FakeServer) -> None:
    """A run that ended between the output's appearance and its own end is no reason to refuse the output."""
    path = table(tmp_path, ".jsonl")
    score(path, fake)
    with pytest.raises(UserError, match="exists already"):
        score(path, fake)
    (tmp_path / "out.jsonl.partial").mkdir()
    about = {"job": "score", "model": "fake", "version": "7", "threshold": None, "all_scores": False}
    with Answers(tmp_path / "out.jsonl.partial" / "answers.sqlite", about) as answers:
        answers.mark_written([str(tmp_path / "out.jsonl")])
    (tmp_path / "foreign.json").write_text("mine")
    with pytest.raises(UserError, match=r"foreign\.json exists already"):
        score(path, fake, summary=tmp_path / "foreign.json")
    (tmp_path / "foreign.json").unlink()
    assert score(path, fake).rows == ROWS
    assert sorted(each.name for each in tmp_path.iterdir()) == ["in.jsonl", "out.jsonl"]


def test_commits_once_a_second(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first answers are on disk at once, the next a second later."""
    now = 100.0
    monkeypatch.setattr("time.monotonic", lambda: now)
    path, on_disk = tmp_path / "answers.sqlite", []
    with Answers(path, {}) as answers, closing(sqlite3.connect(path)) as other:
        answers.add([])
        for key, seconds in ((b"a", 0.0), (b"b", 0.5), (b"c", 0.6)):
            now += seconds
            answers.add([(key, ("1", None))])
            on_disk.append(other.execute("SELECT COUNT(*) FROM answers").fetchone()[0])
    assert on_disk == [1, 1, 3]


def test_estimate(monkeypatch: pytest.MonkeyPatch) -> None:
    """After five seconds, once, by the rows that were read since the first answer."""
    now = 100.0
    monkeypatch.setattr("time.monotonic", lambda: now)
    estimate, lines = Estimate(rows=10_000, size=1000), []
    for seconds, position in ((0, 500), (4, 540), (1, 550), (9, 600)):
        now += seconds
        lines.append(estimate.line(position))
    assert lines == [None, None, "about 4,500 rows are left at 100 rows/s: 0:00:45", None]
