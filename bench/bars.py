"""What the server has to reach, and whether it did."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Literal

from bench import plan as sizes
from bench.figures import Figures, median_difference, median_ratio
from bench.measure import Measured
from bench.modes.gone import BURSTS
from bench.raw import BATCH


@dataclass(frozen=True)
class Row:
    """One bar.

    Attributes:
        name: what is held against it.
        figure: what was measured; None where nothing was.
        comparison: on which side of the bar the figure has to be.
        bar: the bar.
        form: how figure and bar are written.
        note: what else one has to know, or why nothing was measured.
    """

    name: str
    figure: float | None
    comparison: Literal["at least", "at most"]
    bar: float
    form: str = "{:.2f}"
    note: str = ""

    @property
    def met(self) -> bool:
        """Whether the figure is there and on the right side of the bar."""
        if self.figure is None:
            return False
        return self.figure >= self.bar if self.comparison == "at least" else self.figure <= self.bar


Turns = dict[str, list[Figures]]
_PERCENT = "{:.1%}"
_Judge = Callable[[Turns], list[Row]]


def rows(measured: Measured) -> list[Row]:
    """Every bar; those that were not measured too, for they are not met."""
    found: list[Row] = []
    for judge in _JUDGES:
        try:
            found += judge(measured.turns)
        except (KeyError, IndexError, ValueError):
            # Judged again on made-up figures, for the names and the bars alone.
            found += [
                Row(each.name, None, each.comparison, each.bar, each.form, "not measured") for each in judge(_NOTHING)
            ]
    return found


def _ratio(mode: str, name: str, bar: float, turns: Turns) -> list[Row]:
    raw, served = ([each["cpu_ms_per_text"] for each in turns[key]] for key in ("raw", mode))
    return [Row(f"raw over served CPU, {name}", median_ratio(raw, served), "at least", bar)]


def _one(turns: Turns) -> list[Row]:
    served, raw = ([each["p50_ms"] for each in turns[key]] for key in ("one call", "raw, one text"))
    return [Row("p50 of one call over raw, ms", median_difference(served, raw), "at most", 1.0)]


def _storm(turns: Turns) -> list[Row]:
    found = turns["storm"][0]
    note = f"{found['storm_refused']:.0f} refused, {found['storm_missed']:.0f} missed, {found['storm_other']:.0f} other"
    if "texts_run" in found:
        vain = found["texts_run"] - found["answered"]
        note += f"; {vain:.0f} texts run and not answered in time, {vain / found['texts_run']:.1%} of all"
    return [
        Row("storm: goodput over capacity", found["goodput_share"], "at least", 0.6, _PERCENT, note),
        Row("storm: speed 1 s after it", found["recovered_share"], "at least", 0.95, _PERCENT),
    ]


def _gone(turns: Turns) -> list[Row]:
    found = turns["gone"][0]
    note = f"{found['callers']:.0f} callers left in {BURSTS} bursts; one batch of {BATCH} each may be under way"
    vain = found["texts_run"] - found["answered"]
    return [Row("texts run for callers who left", vain, "at most", BURSTS * BATCH, "{:.0f}", note)]


def _overload(turns: Turns) -> list[Row]:
    found = turns["overload"][0]
    offered = f"offered {found['offered']:.0f}/s, deadline {found['deadline_ms']:.0f} ms"
    answered = (
        f"{found['in_time_share_by_client_clock']:.2%} by the client's clock, its own lag included; "
        f"accepted and missed: {found['missed_share']:.2%}"
    )
    lag = f"client's own lag p50 {found['client_lag_p50_ms']:.1f}, max {found['client_lag_max_ms']:.1f}"
    refused = "none was refused"
    if "refusal_p50_ms" in found:
        refused = (
            f"p50 {found['refusal_p50_ms']:.1f}, p99 {found['refusal_p99_ms']:.1f}, "
            f"{found['refused_in_time_share']:.2%} in time; less the client's lag "
            f"max {found['refusal_less_client_lag_max_ms']:.1f}"
        )
    memory = f"{found['memory_growth_once_settled']:.2%} from a tenth of it on"
    # Where none is refused, none is late.
    slowest = found.get("refusal_max_ms", 0.0)
    return [
        Row("overload: offered over capacity", found["offered_over_capacity"], "at least", 2.9),
        Row("overload: goodput over capacity", found["goodput_share"], "at least", 0.95, _PERCENT, offered),
        Row("overload: answered that were in time", found["in_time_share"], "at least", 1.0, "{:.2%}", answered),
        Row("overload: slowest refusal, ms", slowest, "at most", 20.0, "{:.1f}", f"{refused}; {lag}"),
        Row("overload: calls that ended otherwise", found["other"], "at most", 0, "{:.0f}"),
        Row("overload: growth of memory", found["memory_growth"], "at most", 0.02, "{:.2%}", memory),
        Row("overload: speed 1 s after it", found["recovered_share"], "at least", 0.95, _PERCENT),
    ]


def _fairness(turns: Turns) -> list[Row]:
    found, raw = turns["fairness"][0], sorted(each["p50_ms"] for each in turns["raw"])
    note = f"p99 {found['without_p99_ms']:.1f} ms alone, {found['with_p99_ms']:.1f} ms beside it; bar: a raw batch"
    name = f"p99 of single calls beside {sizes.FAIR_TEXTS:,} texts, ms"
    return [Row(name, found["p99_rise_ms"], "at most", raw[len(raw) // 2], "{:.1f}", note)]


_JUDGES: tuple[_Judge, ...] = (
    partial(_ratio, "calls", f"{sizes.IN_FLIGHT} calls in flight", 0.88),
    partial(_ratio, "stream", f"a stream, {sizes.IN_FLIGHT} in flight", 0.96),
    partial(_ratio, "large calls", f"{sizes.LARGE_TEXTS} texts a call", 0.96),
    _one,
    _storm,
    _gone,
    _overload,
    _fairness,
)


class _Ones(dict[str, float]):
    """Every figure, and it is 1."""

    def __missing__(self, key: str) -> float:
        return 1.0


class _Nothing(dict[str, list[Figures]]):
    def __missing__(self, key: str) -> list[Figures]:
        return [_Ones()]


_NOTHING = _Nothing()
