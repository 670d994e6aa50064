"""The benchmark's statistics on calls that are made up, its bars, and one short run against a real server."""

import json
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from bench import __main__ as bench
from bench.bars import Bar, Row, rows
from bench.figures import (
    MISSED,
    OK,
    REFUSED,
    Ended,
    Figures,
    median_difference,
    median_ratio,
    over_rounds,
    overlap,
    percentiles,
)
from bench.measure import interleaved
from bench.plan import Plan
from bench.probe import Watched
from bench.processes import serving
from bench.restarts.__main__ import met
from bench.restarts.load import Found
from bench.sides import Side, both_sides
from bench.timeline import timeline
from bertwire_core.errors import UserError
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
    assert over_rounds([{"a": 1.0, "b": 1.0}, {"a": 1.0}]) == {"a": 1.0}
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


def test_bar_is_met_on_its_side() -> None:
    """At the limit is met, beyond it not, and what was not measured never is."""
    least, most = (Bar("a", side, 0.95, lambda *_: 0.0) for side in ("at least", "at most"))
    assert [Row(least, figure).met for figure in (0.94, 0.95, 0.96, None)] == [False, True, True, False]
    assert [Row(most, figure).met for figure in (0.94, 0.95, 0.96, None)] == [True, True, False, False]


def test_bars_not_measured_are_rows_too() -> None:
    """Every bar is shown, and none met; those that compare only where there is another side."""
    alone, compared = rows({}, None), rows({}, {})
    assert not any(row.met for row in (*alone, *compared))
    assert not any(row.bar.compared for row in alone)
    assert len(alone) < len(compared) == len({row.bar.name for row in compared})


def test_bars_compare_round_by_round() -> None:
    """Each bar against another commit is met at its limit, in rounds of different speed, and not met just beyond it."""

    def judged(worse: float) -> dict[str, bool]:
        """The bars of a side that is at the limit of each, times `worse`."""
        this: dict[str, list[Figures]] = {}
        other: dict[str, list[Figures]] = {}
        for mode in ("calls", "stream", "large calls"):
            this[mode] = [{"texts_per_second": 96 * slow / worse, "p99_ms": 89 * worse / slow} for slow in (1, 2, 0.5)]
            other[mode] = [{"texts_per_second": 100 * slow, "p99_ms": 100 / slow} for slow in (1, 2, 0.5)]
        this["one call"], other["one call"] = [{"p50_ms": 3.4 * worse}], [{"p50_ms": 4.0}]
        this["overload"] = [{"goodput": 81 / worse}, {"goodput": 162 / worse}]
        other["overload"] = [{"goodput": 100}, {"goodput": 200}]
        return {row.bar.name: row.met for row in rows(this, other) if row.bar.compared}

    assert len(judged(1)) == 6
    assert all(judged(1).values())
    assert not any(judged(1.05).values())


def test_a_mode_with_fewer_rounds_is_not_compared() -> None:
    """Where a mode failed in a later round, the rounds that are left have no counterpart."""
    better, worse = {"p99_ms": 1.0, "texts_per_second": 9.0}, {"p99_ms": 2.0, "texts_per_second": 1.0}
    assert sum(row.met for row in rows({"calls": [better] * 2}, {"calls": [worse] * 2})) == 2
    assert not any(row.met for row in rows({"calls": [better]}, {"calls": [worse] * 2}))


def test_sides_take_turns() -> None:
    """Each side once a round, in reversed order every other round."""
    this, other = (Side(name, "", Path(), Path()) for name in ("this", "other"))
    assert list(interleaved([this, other], 3)) == [this, other, other, this, this, other]
    assert list(interleaved([this], 2)) == [this, this]


def test_restarts_go_unnoticed_within_the_bar() -> None:
    """One of 10,000 calls without retries may fail; none with, and no message may be lost or answered twice."""
    ok = Counter({"OK": 9999})
    assert met(Found(plain=ok + Counter({"CANCELLED": 1}), retried=ok, messages=ok))
    assert not met(Found(plain=ok + Counter({"CANCELLED": 2}), retried=ok, messages=ok))
    assert not met(Found(plain=ok, retried=ok + Counter({"UNAVAILABLE": 1}), messages=ok))
    assert not met(Found(plain=ok, retried=ok, messages=ok + Counter({"LOST": 1})))
    assert not met(Found(plain=ok, retried=ok, messages=ok + Counter({"OK and OK": 1})))


# Stands for the whole environment: its `bertwire` writes what it was made from into the bundle.
_MAKEFILE = """
install:
	mkdir -p .venv/bin
	cp bertwire .venv/bin/bertwire
	chmod +x .venv/bin/bertwire
"""
_COMMAND = """#!/bin/sh
# {code}
test "$1" = export && test -f "$2/model" && mkdir -p "$4" && echo {code} $(cat "$2/model") >> "$4/made"
"""


def git(*arguments: str) -> str:
    """What a git command prints in the current folder."""
    options = ("-c", "user.name=test", "-c", "user.email=test@localhost")
    command = ["git", *options, *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True, encoding="utf-8").stdout.strip()


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A repository with a commit tagged `old` and a change since, and a checkpoint; the current folder."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "Makefile").write_text(_MAKEFILE)
    (tmp_path / "export").mkdir()
    (tmp_path / ".gitignore").write_text("build/\n.venv/\n")
    for code in ("before", "after"):
        (tmp_path / "bertwire").write_text(_COMMAND.format(code=code))
        if code == "before":
            git("init", "--quiet")
            git("add", ".")
            git("commit", "--quiet", "--message", "Add all")
            git("tag", "old")
    (tmp_path / "build/demo/checkpoint").mkdir(parents=True)
    (tmp_path / "build/demo/checkpoint/model").write_text("first")
    subprocess.run(["make", "--silent", "install"], check=True)  # noqa: S607
    return tmp_path


def test_each_side_has_a_bundle_of_its_own_code(repository: Path) -> None:
    """Both export the same checkpoint, each by its own code; the other commit's tree and environment are its own."""
    this, other = both_sides("old")
    assert (this.commit, other.commit) == (f"{git('rev-parse', 'HEAD')}-changed", git("rev-parse", "old"))
    assert (this.bundle / "made").read_text() == "after first\n"
    assert (other.bundle / "made").read_text() == "before first\n"
    assert (repository / other.command).read_text() == _COMMAND.format(code="before")
    assert (repository / "bertwire").read_text() == _COMMAND.format(code="after")


def test_what_is_prepared_is_used_again(repository: Path) -> None:
    """A second run exports nothing; a changed checkpoint or exporter is exported again, on the sides it concerns."""
    both_sides("old")
    this, other = both_sides("old")
    assert [(side.bundle / "made").read_text() for side in (this, other)] == ["after first\n", "before first\n"]
    (repository / "export" / "changed.py").write_text("")
    both_sides("old")
    assert (this.bundle / "made").read_text() == "after first\n" * 2
    assert (other.bundle / "made").read_text() == "before first\n"
    (repository / "build/demo/checkpoint/model").write_text("second")
    both_sides("old")
    assert (other.bundle / "made").read_text() == "before first\nbefore second\n"


def test_removed_trees_are_made_again(repository: Path) -> None:
    """Git's record of a worktree that `make clean` has removed does not stand in the way."""
    _, other = both_sides("old")
    shutil.rmtree(repository / "build/against")
    both_sides("old")
    assert (other.bundle / "made").read_text() == "before first\n"


def test_a_server_that_does_not_start_is_named(tmp_path: Path) -> None:
    """The last line of its log is the reason."""
    side = Side("this", "", Path(sys.executable).with_name("bertwire"), tmp_path / "nothing")
    with pytest.raises(UserError, match=r"did not start: .*nothing"), serving(side, "fp32"):
        pass


@pytest.mark.usefixtures("repository")
def test_what_cannot_be_compared_is_named() -> None:
    """An unknown commit, and a commit whose export fails, end with one line."""
    with pytest.raises(UserError, match="no commit nothing"):
        both_sides("nothing")
    Path("bertwire").write_text("#!/bin/sh\nexit 3\n")
    git("commit", "--quiet", "--all", "--message", "Break it")
    with pytest.raises(UserError, match=r"export .* ended with status 3"):
        both_sides("HEAD")


def test_short_run_fills_every_bar(
    bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Every mode runs against a server of the tiny bundle; table, JSON and plot are there, a figure for each bar."""
    texts, output = tmp_path / "texts.csv", tmp_path / "found.json"
    texts.write_text("text\n" + "\n".join(random_texts(100)) + "\n")
    plan = Plan(1, texts=96, single_texts=8, fair=0.5, overloads=1, capacity=0.5, overload=0.5, recovery=0.5)
    monkeypatch.setattr(bench, "QUICK", plan)
    options = ["--quick", "--variants", "fp32", "--bundle", bundle, "--texts", texts, "--output", output]
    monkeypatch.setattr(sys, "argv", ["bench", *map(str, options)])
    bench.main()
    document = json.loads(output.read_text())
    found = document["variants"]["fp32"]
    assert found["not_measured"] == {"this": {}}
    assert [row["name"] for row in found["bars"] if row["figure"] is None] == []
    assert {"raw", "raw, one text", "calls", "stream", "large calls", "one call"} < found["figures"]["this"].keys()
    assert document["sides"]["this"]["commit"] == document["machine"]["commit"]
    assert output.with_suffix(".png").read_bytes().startswith(b"\x89PNG")
    assert "what it has to reach" in capsys.readouterr().out
