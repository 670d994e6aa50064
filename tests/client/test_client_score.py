"""Scoring files against a server that fails in every way."""

from __future__ import annotations

import asyncio
import csv
import gc
import json
import socket
import threading
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import grpc
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from bertwire.v1 import classifier_pb2 as pb
from bertwire_batch import ScoreConfig, Summary, score_file
from bertwire_batch.caller import SLOW_TRIES, pause
from bertwire_batch.cli import run_score
from bertwire_batch.columns import Outcome
from bertwire_batch.job import in_order
from bertwire_batch.tally import Latencies
from bertwire_core.errors import UserError
from bertwire_core.options import validated
from bertwire_data.tables import Batch

if TYPE_CHECKING:
    from fake import FakeServer


@pytest.fixture
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Makes every pause between tries none at all; collects for which try each was."""
    seen: list[int] = []

    def none(tries: int) -> float:
        seen.append(tries)
        return 0.0

    monkeypatch.setattr("bertwire_batch.caller.pause", none)
    return seen


def score(path: Path, address: str, **options: Any) -> Summary:  # noqa: ANN401 - each its own type
    """Scores a file to `out` beside it."""
    config = ScoreConfig(input=path, output=path.with_name("out" + path.suffix), address=address, **options)
    return score_file(config)


def jsonl(folder: Path, *texts: str | int | None) -> Path:
    """Writes a JSONL file with a row for each text."""
    path = folder / "in.jsonl"
    path.write_text("".join(json.dumps({"id": index, "text": text}) + "\n" for index, text in enumerate(texts)))
    return path


def scored(path: Path) -> list[dict[str, Any]]:
    """The rows of the JSONL output beside an input."""
    return [json.loads(line) for line in path.with_name("out.jsonl").read_text().splitlines()]


def leaves_nothing(path: Path) -> bool:
    """Whether nothing lies beside the input."""
    return list(path.parent.iterdir()) == [path]


def test_rows_come_out_in_order(tmp_path: Path, fake: FakeServer) -> None:
    """Rows keep their order although the first call is answered last."""
    later = threading.Event()

    def fail(request: pb.ClassifyRequest) -> None:
        if request.texts[0] == "0":
            assert later.wait(30)
        elif request.texts[0] == "6":
            later.set()

    fake.fail = fail
    path = jsonl(tmp_path, *map(str, range(20)))
    summary = score(path, fake.address, batch_size=2, concurrency=4)
    assert [row["id"] for row in scored(path)] == list(range(20))
    assert scored(path)[0] == {
        "id": 0,
        "text": "0",
        "predicted_label": "short",
        "predicted_score": 0.9,
        "predicted_truncated": False,
        "predicted_error": None,
    }
    assert (summary.rows, summary.failed, summary.calls) == (20, 0, 10)
    assert (summary.model, summary.model_version) == ("fake", "7")
    assert summary.latency_p50_ms is not None
    assert summary.latency_p99_ms is not None
    assert 0 < summary.latency_p50_ms <= summary.latency_p99_ms


def test_csv_and_parquet_gain_the_columns(tmp_path: Path, fake: FakeServer) -> None:
    """Other formats get the same columns, all scores as JSON text, under the prefix asked for."""
    (tmp_path / "in.csv").write_text('id,t\n1,"a, b"\n')
    pq.write_table(pa.table({"t": ["x" * 50], "n": [1]}), tmp_path / "in.parquet")
    for name in ["in.csv", "in.parquet"]:
        score(tmp_path / name, fake.address, text_column="t", prefix="p_", all_scores=True, model="named")
    with (tmp_path / "out.csv").open() as file:
        row = next(csv.DictReader(file))
    assert row == {
        "id": "1",
        "t": "a, b",
        "p_label": "short",
        "p_score": "0.9",
        "p_truncated": "false",
        "p_error": "",
        "p_scores": '{"short": 0.9, "long": 0.1}',
    }
    assert pq.read_table(tmp_path / "out.parquet").to_pylist() == [
        {
            "t": "x" * 50,
            "n": 1,
            "p_label": "long",
            "p_score": 0.75,
            "p_truncated": True,
            "p_error": None,
            "p_scores": '{"long": 0.75, "short": 0.25}',
        }
    ]
    assert {request.model for request in fake.requests} == {"named"}


def test_faulty_rows_are_written_with_their_error(tmp_path: Path, fake: FakeServer) -> None:
    """Rows without a usable text are never sent; of those sent only the guilty one fails."""
    path = jsonl(tmp_path, "a", None, 5, " ", "\ud800", "so bad", "b")
    path.write_text(path.read_text() + '{"id": 7}\nnot json\n')
    summary = score(path, fake.address)
    errors = [row["predicted_error"] for row in scored(path)]
    assert errors[:5] == [
        None,
        "the row has no 'text'",
        "'text' is not a string but int",
        "'text' is blank",
        "'text' is not UTF-8",
    ]
    assert errors[5:8] == ["INVALID_ARGUMENT: text 0 is bad", None, "the row has no 'text'"]
    assert errors[8].startswith("the line is not JSON")
    assert [row["predicted_label"] for row in scored(path)] == ["short", *[None] * 5, "short", None, None]
    assert (summary.rows, summary.failed) == (9, 7)


def test_calls_above_the_servers_size_limit_are_split(tmp_path: Path, fake: FakeServer, pauses: list[int]) -> None:
    """What gRPC turns away for its size is sent in parts, without slowing down; a row too large alone fails."""
    path = jsonl(tmp_path, "x" * 700_000, "y" * 700_000, "z" * 2_000_000)
    score(path, fake.address)
    first, second, third = (row["predicted_error"] for row in scored(path))
    assert (first, second) == (None, None)
    assert third.startswith("RESOURCE_EXHAUSTED")
    assert pauses == []


def test_full_queue_slows_down_and_succeeds(tmp_path: Path, fake: FakeServer, pauses: list[int]) -> None:
    """RESOURCE_EXHAUSTED is tried again after growing pauses."""
    failures = iter([(grpc.StatusCode.RESOURCE_EXHAUSTED, "queue is full")] * 3)
    fake.fail = lambda _: next(failures, None)
    assert score(jsonl(tmp_path, "a"), fake.address).failed == 0
    assert pauses == [1, 2, 3]


def test_full_queue_is_outlasted_while_others_are_answered(tmp_path: Path, fake: FakeServer, pauses: list[int]) -> None:
    """However often a call is refused, it is sent again as long as the server answers any other."""
    refused = 0

    def fail(request: pb.ClassifyRequest) -> tuple[grpc.StatusCode, str] | None:
        nonlocal refused
        if request.texts[0] != "first" or refused == 50:
            return None
        refused += 1
        return grpc.StatusCode.RESOURCE_EXHAUSTED, "queue is full"

    fake.fail = fail
    assert score(jsonl(tmp_path, "first", *"abcd"), fake.address, batch_size=1, max_outage=60).failed == 0
    assert (refused, max(pauses)) == (50, 50)


def test_full_queue_that_stays_full(tmp_path: Path, fake: FakeServer, pauses: list[int]) -> None:
    """A server that refuses every call for too long ends the job like one that went away."""
    fake.fail = lambda _: (grpc.StatusCode.RESOURCE_EXHAUSTED, "queue is full")
    path = jsonl(tmp_path, "a", "b")
    with pytest.raises(UserError, match=r"took no call for 0\.1 s; 0 rows were done.*queue is full"):
        score(path, fake.address, max_outage=0.1)
    assert leaves_nothing(path)
    assert pauses


def test_pauses_grow_and_are_bounded() -> None:
    """They begin at about 0.1 s; however many the tries, no pause exceeds 7.5 s."""
    assert 0.05 <= pause(1) <= 0.15
    assert 2.5 <= pause(5000) <= 7.5


def test_other_failures_are_the_rows_errors(tmp_path: Path, fake: FakeServer) -> None:
    """A call that fails otherwise fails its own rows only, and is not sent again."""
    fake.fail = lambda request: (grpc.StatusCode.UNKNOWN, "oh") if "a" in request.texts else None
    path = jsonl(tmp_path, "a", "b", "c", "d")
    assert score(path, fake.address, batch_size=2).failed == 2
    assert [row["predicted_error"] for row in scored(path)] == ["UNKNOWN: oh"] * 2 + [None] * 2
    assert len(fake.requests) == 2


def test_text_that_the_model_cannot_answer_fails_alone(tmp_path: Path, fake: FakeServer) -> None:
    """A call that fails inside the server is sent again in halves, so that its other texts are answered."""
    fake.fail = lambda request: (grpc.StatusCode.INTERNAL, "no numbers") if "b" in request.texts else None
    path = jsonl(tmp_path, "a", "b", "c", "d")
    assert score(path, fake.address).failed == 1
    assert [row["predicted_error"] for row in scored(path)] == [None, "INTERNAL: no numbers", None, None]


def test_slow_call_is_halved(tmp_path: Path, fake: FakeServer, pauses: list[int]) -> None:
    """Of a call beyond its deadline only the text that is too slow alone fails, after a second try."""
    fake.fail = lambda request: (grpc.StatusCode.DEADLINE_EXCEEDED, "late") if "slow" in request.texts else None
    path = jsonl(tmp_path, "a", "b", "slow", "c")
    assert score(path, fake.address).failed == 1
    assert [row["predicted_error"] for row in scored(path)] == [None, None, "DEADLINE_EXCEEDED: late", None]
    assert [list(request.texts) for request in fake.requests].count(["slow"]) == SLOW_TRIES
    assert len(pauses) == SLOW_TRIES - 1


def test_slow_text_may_be_fast_enough_later(tmp_path: Path, fake: FakeServer, pauses: list[int]) -> None:
    """A text alone is tried again after its deadline."""
    failures = iter([(grpc.StatusCode.DEADLINE_EXCEEDED, "late")])
    fake.fail = lambda _: next(failures, None)
    assert score(jsonl(tmp_path, "a"), fake.address).failed == 0
    assert pauses == [1]


def test_server_that_never_answers(tmp_path: Path, fake: FakeServer, pauses: list[int]) -> None:
    """A connection on which every deadline passes ends the job, instead of a try for each text of the file."""
    fake.fail = lambda _: (grpc.StatusCode.DEADLINE_EXCEEDED, "late")
    path = jsonl(tmp_path, *["a"] * 10_000)
    with pytest.raises(UserError, match=r"answered no call for 0\.[2-9] s; .*DEADLINE_EXCEEDED"):
        score(path, fake.address, timeout=0.02, max_outage=0)
    assert leaves_nothing(path)
    assert len(fake.requests) < 10_000
    assert set(pauses) <= {1}


def test_no_server_at_all(tmp_path: Path, nowhere: str) -> None:
    """Where no server was ever reached, the job ends at once and leaves nothing."""
    path = jsonl(tmp_path, *"abc")
    with pytest.raises(UserError, match=f"no server answers at {nowhere}"):
        score(path, nowhere)
    assert leaves_nothing(path)


def test_address_that_takes_connections_and_says_nothing(tmp_path: Path) -> None:
    """A deadline that passes before there is a connection means that no server was reached."""
    path = jsonl(tmp_path, *"abc")
    with socket.create_server(("localhost", 0)) as silent:
        address = f"localhost:{silent.getsockname()[1]}"
        with pytest.raises(UserError, match=f"no server answers at {address}"):
            score(path, address, timeout=0.2)
    assert leaves_nothing(path)


@pytest.mark.parametrize("code", [grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED])
@pytest.mark.parametrize("answered", [0, 1])
def test_server_that_comes_back(
    tmp_path: Path, code: grpc.StatusCode, answered: int, fake: FakeServer, pauses: list[int]
) -> None:
    """A restart beyond the client's own retries is waited out, and so is a warm-up before the first answer."""
    failures = iter([*[None] * answered, *[(code, "warming up")] * 6])
    fake.fail = lambda _: next(failures, None)
    assert score(jsonl(tmp_path, *"abcd"), fake.address, batch_size=1, concurrency=1).failed == 0
    assert pauses


@pytest.mark.parametrize("code", [grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED])
def test_server_that_stays_away(tmp_path: Path, code: grpc.StatusCode, fake: FakeServer, pauses: list[int]) -> None:
    """An outage beyond the limit ends the job, says how far it came and leaves nothing."""
    fake.fail = lambda request: (code, "going down") if "d" in request.texts else None
    path = jsonl(tmp_path, *"abcd")
    with pytest.raises(UserError, match=r"took no call for 0\.1 s; \d rows were done.*going down"):
        score(path, fake.address, batch_size=1, concurrency=1, max_outage=0.1)
    assert leaves_nothing(path)
    assert pauses


@pytest.mark.parametrize("code", [grpc.StatusCode.NOT_FOUND, grpc.StatusCode.UNIMPLEMENTED])
def test_what_would_fail_every_row_ends_the_job(tmp_path: Path, code: grpc.StatusCode, fake: FakeServer) -> None:
    """A model that the server does not have ends the job and leaves nothing."""
    fake.fail = lambda _: (code, "no model 'x'")
    path = jsonl(tmp_path, *"abc")
    with pytest.raises(UserError, match="no model 'x'"):
        score(path, fake.address, model="x")
    assert leaves_nothing(path)


def test_taken_key_ends_the_job(tmp_path: Path, fake: FakeServer) -> None:
    """A JSONL row with a key of an added name ends the job, not the key."""
    path = tmp_path / "in.jsonl"
    path.write_text('{"text": "a"}\n{"text": "b", "predicted_label": "mine"}\n')
    with pytest.raises(UserError, match="row 2 has a key 'predicted_label' already"):
        score(path, fake.address)
    assert leaves_nothing(path)


def test_inputs_that_cannot_be_scored(tmp_path: Path) -> None:
    """A missing column, another format and an existing output are told before any call."""
    (tmp_path / "in.csv").write_text("a,b\n1,2\n")
    with pytest.raises(UserError, match=r"no column 'text' but 'a', 'b'"):
        score(tmp_path / "in.csv", "localhost:1")
    (tmp_path / "out.csv").touch()
    with pytest.raises(UserError, match="--overwrite"):
        score(tmp_path / "in.csv", "localhost:1", text_column="a")
    with pytest.raises(UserError, match="input's format, CSV"):
        validated(ScoreConfig, {"input": Path("a.csv"), "output": Path("b.jsonl")})


def test_file_without_rows(tmp_path: Path, fake: FakeServer) -> None:
    """It gains the columns, and the summary has no latencies."""
    (tmp_path / "in.csv").write_text("text\n")
    summary = score(tmp_path / "in.csv", fake.address)
    assert (summary.rows, summary.calls, summary.latency_p50_ms, summary.model) == (0, 0, None, "")
    assert (tmp_path / "out.csv").read_text().startswith("text,predicted_label")


@pytest.mark.parametrize(
    ("task", "options", "added"),
    [
        ("single_label", {}, {"label": "short", "score": 0.9}),
        ("single_label", {"threshold": 0.95}, {"label": None, "score": 0.9}),
        ("multi_label", {}, {"labels": ["short"]}),
        (
            "multi_label",
            {"threshold": 0.05, "all_scores": True},
            {"labels": ["short", "long"], "scores": {"short": 0.9, "long": 0.1}},
        ),
        ("multi_label", {"threshold": 0.95}, {"labels": []}),
        ("token_classification", {}, {"entities": [{"label": "WORD", "start": 0, "end": 4, "score": 0.5}]}),
        ("regression", {}, {"value": 12.5}),
    ],
)
def test_columns_of_each_task(
    task: str, options: dict[str, Any], added: dict[str, Any], tmp_path: Path, fake: FakeServer
) -> None:
    """The columns are those of what the model answers; in Parquet and CSV lists and objects are their JSON text."""
    fake.model.task = task
    path = jsonl(tmp_path, "Oslo is cold", None)
    score(path, fake.address, **options)
    row, failed = scored(path)
    assert row == {
        "id": 0,
        "text": "Oslo is cold",
        **prefixed(added),
        "predicted_truncated": False,
        "predicted_error": None,
    }
    assert {name for name, value in failed.items() if value is not None} == {"id", "predicted_error"}
    pq.write_table(pa.table({"text": ["Oslo is cold"]}), tmp_path / "in.parquet")
    score(tmp_path / "in.parquet", fake.address, **options)
    (row,) = pq.read_table(tmp_path / "out.parquet").to_pylist()
    plain = {name: json.dumps(value) if isinstance(value, list | dict) else value for name, value in added.items()}
    assert row == {"text": "Oslo is cold", **prefixed(plain), "predicted_truncated": False, "predicted_error": None}


def prefixed(columns: dict[str, Any]) -> dict[str, Any]:
    """The columns under the names that they have in a file."""
    return {f"predicted_{name}": value for name, value in columns.items()}


def test_pairs_are_sent_as_pairs(tmp_path: Path, fake: FakeServer, capsys: pytest.CaptureFixture[str]) -> None:
    """A model of pairs gets both columns; for one of single texts the second is said not to be read."""
    path = tmp_path / "in.csv"
    path.write_text("text,text_pair\na,1\nbad,2\nc,\nd,4\n")
    fake.model.text_pairs = True
    assert score(path, fake.address).failed == 2
    with path.with_name("out.csv").open() as file:
        assert [row["predicted_error"] for row in csv.DictReader(file)] == [
            "",
            "INVALID_ARGUMENT: text 0 is bad",
            "'text_pair' is blank",
            "",
        ]
    assert {tuple(zip(each.texts, each.text_pairs, strict=True)) for each in fake.requests} >= {(("d", "4"),)}
    with pytest.raises(UserError, match=r"no column 'q' but 'text', 'text_pair'; choose one with --text-pair-column"):
        score(path, fake.address, text_pair_column="q", overwrite=True)
    assert "is not read" not in capsys.readouterr().err
    fake.model.text_pairs = False
    score(path, fake.address, overwrite=True)
    assert "column 'text_pair' is not read: the model reads single texts" in capsys.readouterr().err
    assert not fake.requests[-1].text_pairs
    with pytest.raises(UserError, match="--text-pair-column is for a model of text pairs"):
        score(path, fake.address, text_pair_column="text_pair", overwrite=True)


def test_options_of_the_calls(tmp_path: Path, fake: FakeServer) -> None:
    """Model, version and threshold go with each call; the priority is low, so that the job yields to other calls."""
    path = jsonl(tmp_path, "a")
    score(path, fake.address, model="m", model_version="best", threshold=0.5)
    score(path, fake.address, priority="high", overwrite=True)
    first, second = fake.requests
    assert (first.model, first.model_version, first.threshold, first.top_k) == ("m", "best", 0.5, 1)
    assert (first.priority, second.priority) == (pb.PRIORITY_LOW, pb.PRIORITY_HIGH)


def test_model_that_is_not_ready(tmp_path: Path, fake: FakeServer, pauses: list[int]) -> None:
    """One that is loading is waited for; one that cannot be served ends the job with the reason."""
    path = jsonl(tmp_path, "a")
    fake.model.state = pb.MODEL_STATE_LOADING
    with pytest.raises(UserError, match=r"took no call for 0\.1 s; .*model fake is warming up"):
        score(path, fake.address, max_outage=0.1)
    assert pauses
    fake.model.MergeFrom(pb.Model(state=pb.MODEL_STATE_UNAVAILABLE, reason="the seal is broken"))
    with pytest.raises(UserError, match="model fake version 7 is unavailable: the seal is broken"):
        score(path, fake.address)
    fake.model.MergeFrom(pb.Model(state=pb.MODEL_STATE_READY, task="poetry"))
    with pytest.raises(UserError, match="'poetry', is not known"):
        score(path, fake.address)
    fake.model.task = "regression"
    with pytest.raises(UserError, match="--all-scores is for labels, and the model is one of regression"):
        score(path, fake.address, all_scores=True)
    assert leaves_nothing(path)


def test_job_that_failed_as_a_whole_names_its_cause(tmp_path: Path, fake: FakeServer) -> None:
    """Where no row has a prediction, the command's one line says why the first has none."""
    fake.fail = lambda _: (grpc.StatusCode.INVALID_ARGUMENT, "the model gives a number")
    path = jsonl(tmp_path, "a", "b")
    config = ScoreConfig(input=path, output=tmp_path / "o.jsonl", address=fake.address)
    with pytest.raises(
        UserError, match=r"none of 2 rows has a prediction; .*of the first: INVALID_ARGUMENT: the model"
    ):
        run_score(config)
    assert (tmp_path / "o.jsonl").exists()


def test_new_version_in_the_middle_is_told(tmp_path: Path, fake: FakeServer) -> None:
    """A summary names every version that answered."""

    def fail(_: pb.ClassifyRequest) -> None:
        fake.version = str(len(fake.requests))

    fake.fail = fail
    assert score(jsonl(tmp_path, "a", "b"), fake.address, batch_size=1, concurrency=1).model_version == "1, 2"


def test_summary_and_count_of_failures(tmp_path: Path, fake: FakeServer, capsys: pytest.CaptureFixture[str]) -> None:
    """The command prints and writes the summary, publishes the output and fails with the count."""
    path = jsonl(tmp_path, "a", "so bad")
    config = ScoreConfig(input=path, output=tmp_path / "o.jsonl", summary=tmp_path / "s.json", address=fake.address)
    with pytest.raises(UserError, match=r"1 of 2 rows have no prediction; column 'predicted_error' says why"):
        run_score(config)
    written = json.loads((tmp_path / "s.json").read_text())
    assert written.keys() == asdict(score(path, fake.address)).keys()
    assert (written["rows"], written["failed"]) == (2, 1)
    assert "2 rows, 1 failed" in capsys.readouterr().err
    assert (tmp_path / "o.jsonl").exists()


def test_memory_is_bounded(tmp_path: Path, fake: FakeServer) -> None:
    """However many rows, no more batches live than the window holds."""
    alive: list[int] = []

    def count(_: pb.ClassifyRequest) -> None:
        if len(fake.requests) % 50 == 0:
            alive.append(sum(type(each) is Batch for each in gc.get_objects()))

    fake.fail = count
    gc.collect()  # what other tests left
    summary = score(jsonl(tmp_path, *["text"] * 20_000), fake.address, batch_size=10, concurrency=4)
    assert summary.calls == 2000
    # The window, and the one being read or written.
    assert 4 <= max(alive) <= 2 * 4 + 2


async def test_window_bounds_reading_ahead() -> None:
    """Behind a slow first batch no more is read than the window takes."""
    read: list[int] = []
    written: list[int] = []
    first, last_of_window = asyncio.Event(), asyncio.Event()

    def reader() -> Iterator[Batch]:
        for number in range(100):
            read.append(number)
            assert len(read) - len(written) <= 6
            yield Batch(number, [], [], None)

    async def answer(batch: Batch) -> list[Outcome]:
        if batch.start == 5:
            last_of_window.set()
        if batch.start == 0:
            await first.wait()
        return []

    job = asyncio.create_task(in_order(reader(), answer, lambda batch, _: written.append(batch.start), window=6))
    await last_of_window.wait()
    assert (len(read), written) == (6, [])
    first.set()
    await job
    assert written == list(range(100))


async def test_failure_cancels_the_calls_in_flight() -> None:
    """No call outlives a job that failed."""
    cancelled = 0

    async def answer(batch: Batch) -> list[Outcome]:
        nonlocal cancelled
        if batch.start == 0:
            raise UserError("no")
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            cancelled += 1
            raise
        return []

    with pytest.raises(UserError, match="no"):
        await in_order((Batch(number, [], [], None) for number in range(9)), answer, lambda *_: None, window=5)
    assert cancelled == 4


def test_percentiles_are_within_a_percent() -> None:
    """A histogram's percentiles lie near those of the list."""
    latencies = Latencies()
    assert latencies.percentile_ms(50) is None
    for milliseconds in range(1, 1001):
        latencies.add(milliseconds / 1000)
    for percent in [50, 95, 99]:
        assert latencies.percentile_ms(percent) == pytest.approx(percent * 10, rel=0.011)


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"summary": Path("in.csv")}, "in.csv is also in.csv, which it would replace"),
        ({"summary": Path("out.csv")}, "out.csv is also out.csv, which it would replace"),
        ({"output": Path("x/../in.csv")}, "is also in.csv"),
        ({"output": Path("~nobody-of-that-name/out.csv")}, "there is no user 'nobody-of-that-name'"),
        ({"timeout": 1e300}, "--timeout"),
    ],
)
def test_settings_that_cannot_work(options: dict[str, Any], reason: str) -> None:
    """Settings that would lose a file or could not mean anything are refused before the job starts."""
    with pytest.raises(UserError, match=reason):
        validated(ScoreConfig, {"input": Path("in.csv"), "output": Path("out.csv")} | options)
