"""The plots of the report."""

from collections.abc import Iterable, Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from bertwire_load.measured import Measured
from bertwire_load.search import Promise

# Measurements that are drawn over time, the last ones: those of a search that are nearest to its result.
_MOST_DRAWN = 4
_SHARES = ("p50", "p99", "p99.9")
_STYLES = ("-", "--")


def against_load(measured: Sequence[Measured], names: dict[str, str], promise: Promise | None) -> Figure:
    """Plot percentiles of the latency against the load, and the p99 that is promised."""
    figure = Figure((8, 4.5))
    axes = figure.subplots()
    for (address, name), style in zip(names.items(), _STYLES, strict=False):
        own = [each for each in measured if each.server == address and each.latency.count]
        # Of a rate that was measured twice, the second time decided.
        own = sorted({_load(each): each for each in own}.values(), key=_load)
        for number, share in enumerate(_SHARES):
            times = [each.figures["latency_ms"][share] for each in own]
            label = share + (f" of {name}" if len(names) > 1 else "")
            axes.plot([*map(_load, own)], times, f"o{style}", color=f"C{number}", label=label)
    if promise is not None:
        axes.axhline(promise.p99, color="black", linewidth=1, linestyle=":", label="p99 at most")
    closed = any(each.load.concurrency for each in measured)
    axes.set(xlabel="calls in flight" if closed else "calls/s that were due", ylabel="latency, ms", yscale="log")
    _plain(axes)
    axes.legend(loc="center left", bbox_to_anchor=(1, 0.5))
    return figure


def over_time(measured: Sequence[Measured], names: dict[str, str]) -> Figure:
    """Plot latency, and answered and failed calls, of the last measurements, each in a column of two axes."""
    drawn = measured[-_MOST_DRAWN:]
    figure = Figure((4.2 * len(drawn), 5), layout="constrained")
    grid = figure.subplots(2, len(drawn), squeeze=False, sharex="col", sharey="row")
    for column, each in enumerate(drawn):
        latency, calls = grid[0][column], grid[1][column]
        seconds = [moment.at for moment in each.moments]
        latency.plot(seconds, _values(moment.p50 for moment in each.moments), ".-", label="p50")
        latency.plot(seconds, _values(moment.p99 for moment in each.moments), ".-", label="p99")
        calls.plot(seconds, [moment.answered for moment in each.moments], ".-", color="tab:green", label="answered")
        calls.plot(seconds, [moment.failed for moment in each.moments], ".-", color="tab:red", label="failed")
        latency.set_title(f"{names[each.server]}: {each.load}" if len(names) > 1 else str(each.load))
        latency.set_yscale("log")
        _plain(latency)
        calls.set_xlabel("seconds in which calls were due")
    grid[0][0].set_ylabel("latency, ms")
    grid[1][0].set_ylabel("calls/s")
    for axes in grid[:, -1]:
        axes.legend(loc="center left", bbox_to_anchor=(1, 0.5))
    return figure


def _values(times: Iterable[float | None]) -> list[float]:
    # matplotlib leaves gaps where a value is not a number: no call was answered then.
    return [float("nan") if each is None else each for each in times]


def _load(measured: Measured) -> float:
    return measured.load.rate or measured.load.concurrency or 0


def _plain(axes: Axes) -> None:
    # matplotlib's own formatter of logarithmic axes writes mathematical notation, which text here is not read as.
    axes.yaxis.set_major_formatter("{x:g}")
    axes.yaxis.set_minor_formatter("")
