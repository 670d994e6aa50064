"""The benchmark's statistics on calls that are made up, its bars, and one short run against a real server."""

import json
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from bench import __main__ as bench
from bench.bars import Row, rows
from bench.figures import MISSED, OK, REFUSED, Ended, median_difference, median_ratio, over_rounds, overlap, percentiles
from bench.measure import Measured
from bench.plan import Plan
from bench.probe import Watched
from bench.processes import totals
from bench.restarts.__main__ import met
from bench.restarts.load import Found
from bench.timeline import timeline
from support import random_texts


def ended(begun: list[float], ends: list[float], codes: list[int]) -> Ended:
    """Calls as the client notes them."""
    return Ended(np.array(begun), np.array(ends), np.array(codes, dtype=np.int64))


def test_percentiles_count_every_call() -> None:
    """One slow call among a hundred is the largest and moves p99; no calls have no percentiles."""
    found = percentiles(np.array([0.001] * 99 + [0.101]), "a_")
    assert found["a_p50_ms"] == pytest.approx(1)
    assert found["a_p99_ms"] == pytest.approx(2)
    assert found["a_max_ms"] == pytest.approx(101)
    assert percentiles(np.array([])) == {}


def test_rounds_are_compared_each_with_itself() -> None:
    """A slow round slows both sides and leaves the median ratio and difference alone."""
    assert median_ratio([1.0, 9.0, 1.0], [2.0, 10.0, 2.0]) == 0.5
    assert median_difference([3.0, 12.0, 3.0], [2.0, 11.0, 2.0]) == 1.0
    assert over_rounds([{"a": 1.0}, {"a": 100.0}, {"a": 2.0}]) == {"a": 2.0}
    with pytest.raises(ValueError, match="shorter"):
        median_ratio([1.0, 2.0], [1.0])


def test_rate_counts_answers_that_end_in_the_window() -> None:
    """Neither refusals nor answers before or after the window are goodput."""
    codes = [each.value[0] for each in (OK, OK, REFUSED, MISSED, OK)]
    calls = ended([0, 0.5, 1, 1, 1], [0.9, 1.0, 1.5, 1.6, 3.0], codes)
    assert calls.rate(1.0, 3.0) == 0.5
    assert len(calls.begun_between(1.0, 2.0).of(REFUSED)) == 1


def test_client_lag_is_taken_from_a_call_once() -> None:
    """Only the part of a stall that lies within a call is the client's own time."""
    calls = ended([0.0, 1.5, 3.0], [1.5, 1.8, 4.0], [0, 0, 0])
    assert overlap(calls, [(1.0, 2.0), (3.5, 3.75)]).tolist() == pytest.approx([0.5, 0.3, 0.25])
    assert overlap(calls, []).tolist() == [0, 0, 0]


def test_memory_and_lag_are_of_their_window() -> None:
    """Growth compares the latest figures at both ends; lag outside the window is left out."""
    watched = Watched(stalls=[(0.0, 5.0), (6.0, 6.5)], memory=[(0.0, 100), (1.0, 110), (9.0, 500)])
    assert watched.growth(0.5, 2.0) == pytest.approx(0.1)
    assert watched.lag(5.0, 7.0).tolist() == [0.5]


def test_timeline_bins_every_outcome() -> None:
    """Calls a second by outcome, in bins of half a second from the first moment on."""
    codes = [each.value[0] for each in (OK, OK, REFUSED, MISSED)]
    found = timeline(ended([0] * 4, [10.1, 10.2, 10.7, 11.2], codes), 4.0, 10.0, (10.5, 11.0))
    assert found["answered"] == [4, 0]
    assert found["refused"] == [0, 2]
    assert found["phases"] == (0.5, 1.0)


def test_reads_what_a_server_ran() -> None:
    """The totals of the log's last lines; none where the server says nothing."""
    assert totals("x\nran 70 texts in 3 batches, padding share 0.2500\n") == {
        "texts": 70,
        "batches": 3,
        "padding": 0.25,
    }
    assert totals("stopped") == {}


def test_bar_is_met_on_its_side() -> None:
    """At the bar is met, beyond it not, and what was not measured never is."""
    assert Row("a", 0.95, "at least", 0.95).met
    assert not Row("a", 0.94, "at least", 0.95).met
    assert Row("a", 20.0, "at most", 20.0).met
    assert not Row("a", 20.1, "at most", 20.0).met
    assert not Row("a", None, "at most", 20.0).met


def test_bars_not_measured_are_rows_too() -> None:
    """A run without figures shows every bar, and none as met."""
    found = rows(Measured())
    assert len(found) == 15
    assert not any(row.met for row in found)


def test_restarts_go_unnoticed_within_the_bar() -> None:
    """One of 10,000 calls without retries may fail; none with, and no message may be lost or answered twice."""
    ok = Counter({"OK": 9999})
    assert met(Found(plain=ok + Counter({"CANCELLED": 1}), retried=ok, messages=ok))
    assert not met(Found(plain=ok + Counter({"CANCELLED": 2}), retried=ok, messages=ok))
    assert not met(Found(plain=ok, retried=ok + Counter({"UNAVAILABLE": 1}), messages=ok))
    assert not met(Found(plain=ok, retried=ok, messages=ok + Counter({"LOST": 1})))
    assert not met(Found(plain=ok, retried=ok, messages=ok + Counter({"OK and OK": 1})))


@pytest.mark.timeout(300)
def test_short_run_fills_every_bar(
    bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Every mode runs against a server of the tiny bundle; table, JSON and plot are there, a figure for each bar."""
    texts, output = tmp_path / "texts.csv", tmp_path / "found.json"
    texts.write_text("text\n" + "\n".join(random_texts(100)) + "\n")
    plan = Plan(
        1, texts=96, single_texts=8, capacity=0.5, recovery=0.5, storm=0.5, overload=0.5, fair=0.5, fair_rounds=1
    )
    monkeypatch.setattr(bench, "QUICK", plan)
    options = ["--quick", "--variants", "fp32", "--bundle", bundle, "--texts", texts, "--output", output]
    monkeypatch.setattr(sys, "argv", ["bench", *map(str, options)])
    bench.main()
    found = json.loads(output.read_text())["variants"]["fp32"]
    assert found["not_measured"] == {}
    assert [row["name"] for row in found["bars"] if row["figure"] is None] == []
    assert found["figures"]["gone"]["texts_run"] >= found["figures"]["gone"]["answered"] > 0
    assert output.with_suffix(".png").read_bytes().startswith(b"\x89PNG")
    assert "what it has to reach" in capsys.readouterr().out
