"""What the server has to reach, and whether it does."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import StatisticsError, median
from typing import Literal

from bench import plan as sizes
from bench.figures import Figures, median_difference, median_ratio

Turns = Mapping[str, Sequence[Figures]]
_PERCENT = "{:.1%}"


@dataclass(frozen=True)
class Bar:
    """One requirement.

    Attributes:
        name: what is required, with its unit.
        comparison: on which side of the limit the figure has to be.
        limit: the limit.
        figure: the figure from the rounds of this side and of the other, by mode.
        form: how figure and limit are written.
        compared: whether it needs another commit.
    """

    name: str
    comparison: Literal["at least", "at most"]
    limit: float
    figure: Callable[[Turns, Turns], float]
    form: str = "{:.2f}"
    compared: bool = False


@dataclass(frozen=True)
class Row:
    """A bar and what was measured; `figure` is None where a mode that it needs was not measured."""

    bar: Bar
    figure: float | None

    @property
    def met(self) -> bool:
        """Whether the figure is there and on the right side of the limit."""
        if self.figure is None:
            return False
        limit = self.bar.limit
        return self.figure >= limit if self.bar.comparison == "at least" else self.figure <= limit


def rows(this: Turns, other: Turns | None) -> list[Row]:
    """Return every bar with its figure.

    Args:
        this: the rounds of the working tree by mode.
        other: those of the other commit; None leaves out the bars that need one.
    """
    return [Row(bar, _figure(bar, this, other or {})) for bar in _BARS if other is not None or not bar.compared]


def _figure(bar: Bar, this: Turns, other: Turns) -> float | None:
    try:
        return bar.figure(this, other)
    except (KeyError, StatisticsError, ValueError):
        # A mode that failed has fewer rounds than the other side's, or none.
        return None


def _values(turns: Turns, mode: str, key: str) -> list[float]:
    return [figures[key] for figures in turns.get(mode, ())]


def _own(mode: str, key: str) -> Callable[[Turns, Turns], float]:
    return lambda this, other: median(_values(this, mode, key))  # noqa: ARG005 - as the others


def _ratio(mode: str, key: str) -> Callable[[Turns, Turns], float]:
    return lambda this, other: median_ratio(_values(this, mode, key), _values(other, mode, key))


def _saved(mode: str, key: str) -> Callable[[Turns, Turns], float]:
    return lambda this, other: median_difference(_values(other, mode, key), _values(this, mode, key))


def _throughput(mode: str, name: str) -> Bar:
    return Bar(f"texts/s over the other's, {name}", "at least", 0.95, _ratio(mode, "texts_per_second"), compared=True)


def _overload(name: str, comparison: Literal["at least", "at most"], limit: float, key: str, form: str) -> Bar:
    return Bar(f"overload: {name}", comparison, limit, _own("overload", key), form)


_BARS = (
    _throughput("calls", f"{sizes.IN_FLIGHT} calls in flight"),
    _throughput("stream", f"a stream, {sizes.IN_FLIGHT} in flight"),
    _throughput("large calls", f"{sizes.LARGE_TEXTS} texts a call"),
    Bar(f"p99 over the other's, {sizes.IN_FLIGHT} in flight", "at most", 0.9, _ratio("calls", "p99_ms"), compared=True),
    Bar("p50 of one call below the other's, ms", "at least", 0.5, _saved("one call", "p50_ms"), compared=True),
    _overload("goodput over capacity", "at least", 0.55, "goodput_share", _PERCENT),
    Bar("overload: goodput over the other's", "at least", 0.8, _ratio("overload", "goodput"), compared=True),
    _overload("admitted that were not answered in time", "at most", 0.02, "late_share", _PERCENT),
    _overload("refusals, p99 less the client's lag, ms", "at most", 10.0, "refusal_p99_ms", "{:.1f}"),
    _overload("speed 1 s after it over capacity", "at least", 0.95, "recovered_share", _PERCENT),
    _overload("growth of memory", "at most", 0.02, "memory_growth", _PERCENT),
    # Two batches of 40 ms.
    Bar(
        f"rise of single calls' p99 beside {sizes.FAIR_TEXTS:,} texts, ms",
        "at most",
        80.0,
        _own("fairness", "p99_rise_ms"),
        "{:.1f}",
    ),
)
