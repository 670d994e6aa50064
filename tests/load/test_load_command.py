"""`bertwire load` against a real server: client processes, protocols, outputs."""

import json
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from bertwire_core.errors import UserError
from bertwire_load.cli import run_load
from bertwire_load.config import LoadConfig
from fake import Failure, FakeServer
from html_tree import parse, text_of
from support import Server, bertwire


def load(address: str, output: Path, **options: Any) -> dict[str, Any]:  # noqa: ANN401 - each its own type
    """Runs `bertwire load` for half a second unless told otherwise; gives load.json."""
    run_load(LoadConfig(**({"address": address, "output": output, "duration": 0.5, "warmup": 0.1} | options)))
    found: dict[str, Any] = json.loads((output / "load.json").read_bytes())
    return found


def test_each_protocol_is_measured(server: Server, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Every call is answered; two processes and two servers are one report."""
    found = load(
        server.address,
        tmp_path / "own",
        processes=2,
        compare=server.address.replace("127.0.0.1", "localhost"),
        rounds=1,
        rate=[80],
        call_size="1:3,4:1",
        priority="high:1,low:1",
    )
    first, second = found["measured"]
    for each in found["measured"]:
        assert (each["failed"], each["unsent"], each["unfinished"]) == ({}, 0, 0)
        assert 0 < each["latency_ms"]["p50"] <= each["latency_ms"]["p99"] <= each["latency_ms"]["max"]
        assert each["latency_ms_by_group"].keys() == {"size 1", "size 4", "priority high", "priority low"}
    # Both servers have the same calls.
    assert (first["rate"], first["calls"]) == (second["rate"], second["calls"])
    assert first["calls"] > 10
    shown = capsys.readouterr().out
    assert "p99 of B over A at 80 calls/s" in shown
    page = parse(tmp_path / "own" / "report.html")
    assert [text_of(each) for each in page.iter("h2")] == ["Latency against load", "Over time", "Options"]
    assert sum(1 for _ in page.iter("img")) == 2
    for protocol in ("oip", "tei"):
        (each,) = load(server.address, tmp_path / protocol, protocol=protocol, rate=[50])["measured"]
        assert (each["failed"], each["calls"] > 10) == ({}, True)


def test_failures_are_counted_by_code(server: Server, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Deadlines that cannot be kept are failures; a server or a model that is not there is one line at the start."""
    (found,) = load(server.address, tmp_path / "late", deadline="1ms", rate=[100], call_size="32")["measured"]
    assert found["failed"].keys() <= {"DEADLINE_EXCEEDED", "RESOURCE_EXHAUSTED"}
    assert found["failed"]
    assert found["error_share"] > 0.5
    assert "failed at 100 calls/s: " in capsys.readouterr().out
    with pytest.raises(UserError, match=f"{server.address} does not answer the first call: NOT_FOUND: .*nosuch"):
        load(server.address, tmp_path / "model", model="nosuch")
    assert not (tmp_path / "model").exists()
    with pytest.raises(UserError, match="is no result of a load test, and --overwrite replaces nothing else"):
        load(server.address, tmp_path, overwrite=True)
    assert (tmp_path / "late").exists()


def test_interrupted_shows_what_was_measured(tmp_path: Path) -> None:
    """Ctrl-C ends a long measurement with its table and files; without the report's libraries one line says so."""
    server, measuring = FakeServer(), threading.Event()

    def count(_: object) -> Failure | None:
        if len(server.requests) > 20:
            measuring.set()
        return None

    server.fail = count
    texts = tmp_path / "texts.txt"
    texts.write_text("recorded\n")
    output = tmp_path / "out"
    options = ("--duration", 300, "--warmup", 0, "--concurrency", 2, "--texts", texts, "--output", output)
    without = "import sys; sys.modules['jinja2'] = None; from bertwire_cli.main import main; main()"
    command = [sys.executable, "-c", without, *bertwire("load", server.address, *options)[3:]]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert measuring.wait(60)
        process.send_signal(signal.SIGINT)
        shown, messages = process.communicate(timeout=60)
    server.stop()
    assert process.returncode == 130, messages
    assert "2 in flight" in shown
    assert "no report.html, which needs jinja2" in messages
    found = json.loads((output / "load.json").read_bytes())
    (measured,) = found["measured"]
    assert (found["interrupted"], measured["failed"], measured["unfinished"] <= 2) == (True, {}, True)
    assert measured["calls"] >= 18
    assert {text for each in server.requests for text in each.texts} == {"recorded"}
