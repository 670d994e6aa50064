"""Scoring files against a server that fails in every way."""

from __future__ import annotations

import csv
import json
import socket
import threading
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
from bertwire_batch.tally import Latencies
from bertwire_core.errors import UserError
from bertwire_core.options import validated

if TYPE_CHECKING:
    from fake import FakeServer


NOT_TAKEN = [grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED, grpc.StatusCode.RESOURCE_EXHAUSTED]
OF_EVERY_ROW = [
    grpc.StatusCode.NOT_FOUND,
    grpc.StatusCode.UNIMPLEMENTED,
    grpc.StatusCode.UNAUTHENTICATED,
    grpc.StatusCode.PERMISSION_DENIED,
]


@pytest.fixture
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Skip every pause between tries; collect for which try each was."""
    seen: list[int] = []

    def none(tries: int) -> float:
        seen.append(tries)
        return 0.0

    monkeypatch.setattr("bertwire_batch.caller.pause", none)
    return seen


def score(path: Path, address: str, **options: Any) -> Summary:  # noqa: ANN401 - each its own type
    """Score a file to `out` beside it."""
    config = ScoreConfig(inputs=[path], output=path.with_name("out" + path.suffix), server=[address], **options)
    return score_file(config)


def jsonl(folder: Path, *texts: str | int | None) -> Path:
    """Write a JSONL file with a row for each text."""
    path = folder / "in.jsonl"
    path.write_text("".join(json.dumps({"id": index, "text": text}) + "\n" for index, text in enumerate(texts)))
    return path


def scored(path: Path) -> list[dict[str, Any]]:
    """Return the rows of the JSONL output beside an input."""
    return [json.loads(line) for line in path.with_name("out.jsonl").read_text().splitlines()]


def leaves_nothing(path: Path) -> bool:
    """Return whether nothing lies beside the input."""
    return list(path.parent.iterdir()) == [path]


def test_rows_come_out_in_order(tmp_path: Path, fake: FakeServer) -> None:
    """Write rows in order although the first call is answered last."""
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
        "predicted_model": "fake/7",
    }
    assert (summary.rows, summary.failed, summary.calls) == (20, 0, 10)
    assert (summary.model, summary.model_version) == ("fake", "7")
    assert summary.latency_p50_ms is not None
    assert summary.latency_p99_ms is not None
    assert 0 < summary.latency_p50_ms <= summary.latency_p99_ms


def test_csv_gains_the_columns(tmp_path: Path, fake: FakeServer) -> None:
    """Write all scores as JSON text, under the prefix asked for."""
    path = tmp_path / "in.csv"
    path.write_text('id,t\n1,"a, b"\n')
    score(path, fake.address, text_column="t", prefix="p_", all_scores=True)
    assert path.with_name("out.csv").read_text().splitlines() == [
        "id,t,p_label,p_score,p_truncated,p_error,p_scores,p_model",
        '1,"a, b",short,0.9,false,,"{""short"": 0.9, ""long"": 0.1}",fake/7',
    ]


def test_faulty_rows_are_written_with_their_error(tmp_path: Path, fake: FakeServer) -> None:
    """Send no row without a usable text; of those sent fail only the invalid one."""
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
    """Send a call above gRPC's size limit in parts, without a pause; fail a row too large alone."""
    path = jsonl(tmp_path, "x" * 700_000, "y" * 700_000, "z" * 2_000_000)
    score(path, fake.address)
    first, second, third = (row["predicted_error"] for row in scored(path))
    assert (first, second) == (None, None)
    assert third.startswith("RESOURCE_EXHAUSTED")
    assert pauses == []


def test_pauses_grow_and_are_bounded() -> None:
    """Pause longer after more failed tries, and for less than a minute however many they are."""
    assert 0 < pause(1) < pause(5) < 60
    assert pause(5000) < 60


def test_other_failures_are_the_rows_errors(tmp_path: Path, fake: FakeServer) -> None:
    """Fail only the rows of a call that fails otherwise, after one more try at the end."""
    fake.fail = lambda request: (grpc.StatusCode.UNKNOWN, "oh") if "a" in request.texts else None
    path = jsonl(tmp_path, "a", "b", "c", "d")
    assert score(path, fake.address, batch_size=2).failed == 2
    assert [row["predicted_error"] for row in scored(path)] == ["UNKNOWN: oh"] * 2 + [None] * 2
    assert len(fake.requests) == 3


def test_server_that_never_answers(tmp_path: Path, fake: FakeServer, pauses: list[int]) -> None:
    """End the job where every deadline passes, instead of a try per text."""
    fake.fail = lambda _: (grpc.StatusCode.DEADLINE_EXCEEDED, "late")
    path = jsonl(tmp_path, *map(str, range(100_000)))
    with pytest.raises(UserError, match=r"answered no call for \d+\.\d s: .*DEADLINE_EXCEEDED"):
        score(path, fake.address, timeout=0.4, max_outage=0)
    assert leaves_nothing(path)
    assert len(fake.requests) < 100_000
    assert set(pauses) <= {1}


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
    """Add the columns of the task; in Parquet write lists and objects as JSON text."""
    fake.model.task = task
    made_by = f"fake/7 threshold={options['threshold']}" if "threshold" in options else "fake/7"
    path = jsonl(tmp_path, "Oslo is cold", None)
    score(path, fake.address, **options)
    row, failed = scored(path)
    assert row == {
        "id": 0,
        "text": "Oslo is cold",
        **prefixed(added),
        "predicted_truncated": False,
        "predicted_error": None,
        "predicted_model": made_by,
    }
    assert {name for name, value in failed.items() if value is not None} == {"id", "predicted_error"}
    pq.write_table(pa.table({"text": ["Oslo is cold"]}), tmp_path / "in.parquet")
    score(tmp_path / "in.parquet", fake.address, **options)
    (row,) = pq.read_table(tmp_path / "out.parquet").to_pylist()
    plain = {name: json.dumps(value) if isinstance(value, list | dict) else value for name, value in added.items()}
    assert row == {
        "text": "Oslo is cold",
        **prefixed(plain),
        "predicted_truncated": False,
        "predicted_error": None,
        "predicted_model": made_by,
    }


def prefixed(columns: dict[str, Any]) -> dict[str, Any]:
    """Return the columns under their names in a file."""
    return {f"predicted_{name}": value for name, value in columns.items()}


def test_pairs_are_sent_as_pairs(tmp_path: Path, fake: FakeServer, capsys: pytest.CaptureFixture[str]) -> None:
    """Send both columns to a model of pairs; say that one of single texts does not read the second."""
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
    """Send the model's version that was found first, and the threshold, with each call, by default at low priority."""
    path = jsonl(tmp_path, "a")
    score(path, fake.address, model="m", model_version="best", threshold=0.5)
    score(path, fake.address, priority="high", overwrite=True)
    first, second = fake.requests
    assert (first.model, first.model_version, first.threshold, first.top_k) == ("fake", "7", 0.5, 1)
    assert (first.priority, second.priority) == (pb.PRIORITY_LOW, pb.PRIORITY_HIGH)


def test_model_that_is_not_ready(tmp_path: Path, fake: FakeServer, pauses: list[int]) -> None:
    """Wait for a model that is loading; end the job with the reason for one that cannot be served."""
    path = jsonl(tmp_path, "a")
    fake.model.state = pb.MODEL_STATE_LOADING
    with pytest.raises(UserError, match=r"took no call for 0\.1 s: .*model fake is warming up"):
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


@pytest.mark.parametrize("code", NOT_TAKEN)
@pytest.mark.parametrize("answered", [0, 1])
def test_waits_for_a_server_that_comes_back(
    tmp_path: Path, code: grpc.StatusCode, answered: int, fake: FakeServer, pauses: list[int]
) -> None:
    """Try again beyond the client's own retries, after growing pauses, before the first answer too."""
    failures = iter([*[None] * answered, *[(code, "warming up")] * 6])
    fake.fail = lambda _: next(failures, None)
    assert score(jsonl(tmp_path, *"abcd"), fake.address, batch_size=1, concurrency=1).failed == 0
    assert pauses == list(range(1, len(pauses) + 1)) != []


@pytest.mark.parametrize("code", NOT_TAKEN)
def test_gives_up_on_a_server_that_stays_away(
    tmp_path: Path, code: grpc.StatusCode, fake: FakeServer, pauses: list[int]
) -> None:
    """Raise after --max-outage; the same command goes on where the job came to."""
    fake.fail = lambda request: (code, "going down") if "d" in request.texts else None
    path = jsonl(tmp_path, *"abcd")
    with pytest.raises(UserError, match=r"took no call for 0\.1 s: .*going down"):
        score(path, fake.address, batch_size=1, concurrency=1, max_outage=0.1)
    assert pauses
    assert not path.with_name("out.jsonl").exists()
    fake.fail = lambda _: None
    assert score(path, fake.address, batch_size=1).texts == 1
    assert [row["predicted_label"] for row in scored(path)] == ["short"] * 4


def test_gives_up_where_no_server_was_reached(tmp_path: Path, nowhere: str) -> None:
    """Raise at once for an address that refuses connections, or that accepts them and says nothing."""
    path = jsonl(tmp_path, *"abc")
    with socket.create_server(("localhost", 0)) as silent:
        for address in (nowhere, f"localhost:{silent.getsockname()[1]}"):
            with pytest.raises(UserError, match=f"no server answers at {address}"):
                score(path, address, timeout=0.2)
    assert leaves_nothing(path)


@pytest.mark.parametrize("code", OF_EVERY_ROW)
def test_ends_at_a_failure_of_every_row(tmp_path: Path, code: grpc.StatusCode, fake: FakeServer) -> None:
    """Raise where all other rows would fail too, and leave no output."""
    fake.fail = lambda _: (code, "not this one")
    path = jsonl(tmp_path, *"abc")
    with pytest.raises(UserError, match="not this one"):
        score(path, fake.address)
    assert leaves_nothing(path)


@pytest.mark.parametrize(
    ("code", "tries"), [(grpc.StatusCode.INTERNAL, 1), (grpc.StatusCode.DEADLINE_EXCEEDED, SLOW_TRIES)]
)
def test_isolates_the_text_that_fails(
    tmp_path: Path, code: grpc.StatusCode, tries: int, fake: FakeServer, pauses: list[int]
) -> None:
    """Bisect a call that fails for one of its texts; try that text again after its deadline, and once at the end."""
    fake.fail = lambda request: (code, "oh") if "c" in request.texts else None
    path = jsonl(tmp_path, *"abcd")
    assert score(path, fake.address).failed == 1
    assert [row["predicted_error"] for row in scored(path)] == [None, None, f"{code.name}: oh", None]
    assert [list(request.texts) for request in fake.requests].count(["c"]) == 2 * tries
    assert len(pauses) == 2 * (tries - 1)


def test_names_the_failure_of_all_rows(tmp_path: Path, fake: FakeServer) -> None:
    """Raise the first row's error where no row has a prediction; the output is written."""
    fake.fail = lambda _: (grpc.StatusCode.INVALID_ARGUMENT, "the model gives a number")
    config = ScoreConfig(inputs=[jsonl(tmp_path, "a", "b")], output=tmp_path / "o.jsonl", server=[fake.address])
    with pytest.raises(
        UserError, match=r"none of 2 rows has a prediction; .*of the first: INVALID_ARGUMENT: the model"
    ):
        run_score(config)
    assert (tmp_path / "o.jsonl").exists()


def test_summary(tmp_path: Path, fake: FakeServer, capsys: pytest.CaptureFixture[str]) -> None:
    """Print and write the counts and the version; raise with the number of failures."""
    options: dict[str, Any] = {"summary": tmp_path / "s.json", "batch_size": 1, "concurrency": 1}
    path = jsonl(tmp_path, "a", "b", "so bad")
    config = ScoreConfig(inputs=[path], output=tmp_path / "o.jsonl", server=[fake.address], **options)
    with pytest.raises(UserError, match="1 of 3 rows have no prediction; column 'predicted_error' says why"):
        run_score(config)
    written = json.loads((tmp_path / "s.json").read_text())
    assert (written["rows"], written["failed"], written["model_version"]) == (3, 1, "7")
    assert "3 rows, 1 failed" in capsys.readouterr().err
    assert (tmp_path / "o.jsonl").exists()


def test_percentiles_are_within_a_percent() -> None:
    """Return the percentiles of 1 to 1000 ms."""
    latencies = Latencies()
    for milliseconds in range(1, 1001):
        latencies.add(milliseconds / 1000)
    found = [latencies.percentile_ms(percent) for percent in (50, 95, 99)]
    assert found == pytest.approx([500, 950, 990], rel=0.011)


def test_inputs_that_cannot_be_scored(tmp_path: Path, fake: FakeServer) -> None:
    """Raise for a missing column, an existing output and a key of an added name; a file without rows is scored."""
    path, rows = tmp_path / "in.csv", tmp_path / "in.jsonl"
    path.write_text("a,b\n")
    with pytest.raises(UserError, match="no column 'text' but 'a', 'b'"):
        score(path, "localhost:1")
    summary = score(path, fake.address, text_column="a")
    assert (summary.rows, summary.calls, summary.latency_p50_ms) == (0, 0, None)
    assert (tmp_path / "out.csv").read_text().startswith("a,b,predicted_label")
    with pytest.raises(UserError, match="--overwrite"):
        score(path, "localhost:1", text_column="a")
    rows.write_text('{"text": "a"}\n{"text": "b", "predicted_label": "mine"}\n')
    with pytest.raises(UserError, match="row 2 has a key 'predicted_label' already"):
        score(rows, fake.address)
    assert not (tmp_path / "out.jsonl").exists()


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"output": Path("out.jsonl")}, "input's format, CSV"),
        ({"output": Path("x/../in.csv")}, "is also in.csv"),
        ({"summary": Path("in.csv")}, "in.csv is also in.csv, which it would replace"),
        ({"summary": Path("out.csv")}, "out.csv is also out.csv, which it would replace"),
        ({"output": Path("~nobody-of-that-name/out.csv")}, "there is no user 'nobody-of-that-name'"),
        ({"timeout": 1e300}, "--timeout"),
    ],
)
def test_settings_that_cannot_work(options: dict[str, Any], reason: str) -> None:
    """Raise before the job starts for settings that would lose a file or cannot mean anything."""
    with pytest.raises(UserError, match=reason):
        validated(ScoreConfig, {"inputs": [Path("in.csv")], "output": Path("out.csv")} | options)
