"""The table, the lines below it, and the JSON."""

from collections.abc import Iterator
from statistics import median
from typing import Any

from rich import box
from rich.table import Table
from rich.text import Text

from bertwire_load.campaign import Results
from bertwire_load.config import LoadConfig
from bertwire_load.measured import Measured
from bertwire_load.worker import Load

# Head of each column; all of them fit into 80 characters.
HEAD = (
    *("load", "answered\n/s"),
    *("p50\nms", "p90\nms", "p99\nms", "p99.9\nms", "max\nms"),
    *("failed", "delay\np99 ms", "client\nCPU"),
)
# Answered calls below which the p99 is the slowest one.
_FEW = 100


def cells(measured: Measured) -> tuple[str, ...]:
    """Return the cells of a row, one for each of `HEAD`."""
    figures = measured.figures
    latency, delay = figures["latency_ms"], figures["dispatch_delay_ms"]
    times = (_ms(latency.get(name)) for name in ("p50", "p90", "p99", "p99.9", "max"))
    answered, failed = f"{figures['answered_per_second']:,.1f}", f"{measured.error_share:.2%}"
    return str(measured.load), answered, *times, failed, _ms(delay.get("p99")), f"{measured.cpu:.0%}"


def _ms(value: float | None) -> str:
    return "-" if value is None else f"{value:#.3g}".rstrip(".") if value < 1000 else f"{value:.0f}"


def table(results: Results, config: LoadConfig) -> Table:
    """Return a row for each load at each server."""
    shown = Table(box=box.SIMPLE, padding=(0, 1, 0, 0), pad_edge=False)
    names = server_names(config)
    for place, name in enumerate((*([""] if len(names) > 1 else []), *HEAD)):
        left = place < len(names)
        shown.add_column(name, justify="left" if left else "right", no_wrap=True)
    for each in results.done:
        own = [names[each.server]] if len(names) > 1 else []
        shown.add_row(*map(Text, (*own, *cells(each))))
    return shown


def server_names(config: LoadConfig) -> dict[str, str]:
    """Return by address what a server is called in tables."""
    return dict(zip(config.addresses, "AB", strict=False))


def lines(results: Results, config: LoadConfig) -> Iterator[str]:
    """Yield what is said beside the table, one line each."""
    names = server_names(config)
    if len(names) > 1:
        yield "; ".join(f"{name}: {address}" for address, name in names.items())
    for each in results.done:
        where = f"{names[each.server]}, {each.load}" if len(names) > 1 else str(each.load)
        if config.call_size != "1":
            yield f"texts at {where}: {each.figures['texts_per_second']:,.1f}/s"
        if each.failed:
            yield f"failed at {where}: {', '.join(f'{count:,} {code}' for code, count in each.failed.most_common())}"
        for kind, found in each.figures["latency_ms_by_group"].items():
            times = f"p50 {_ms(found.get('p50'))} ms, p99 {_ms(found.get('p99'))} ms"
            yield f"{kind} at {where}: {each.groups[kind].count:,} answered, {times}"
        if each.unfinished:
            yield f"without an outcome at {where}, and in no figure: {each.unfinished:,} calls"
        if 0 < each.latency.count < _FEW:
            yield f"p99 at {where} is the slowest of {each.latency.count} calls; raise --duration"
    yield from _compared(results)
    yield from _limits(results, names)
    yield from _found(results, names)


def _compared(results: Results) -> Iterator[str]:
    """Yield how the second server's p99 compares with the first one's, by turns: both had the same calls."""
    if results.promise is not None:
        return
    for first, second in zip(results.measured[::2], results.measured[1::2], strict=False):
        if first.server == second.server:
            return
        ratios = [b / a for a, b in zip(first.turns, second.turns, strict=False) if a is not None and b is not None]
        if ratios:
            several = f"median of {len(ratios)} turns, which are {min(ratios):.3f} to {max(ratios):.3f}"
            how = several if len(ratios) > 1 else "one turn"
            yield f"p99 of B over A at {first.load}: {median(ratios):.3f} ({how})"


def _limits(results: Results, names: dict[str, str]) -> Iterator[str]:
    for address, name in names.items():
        limited = [each for each in results.done if each.server == address and each.client_limit]
        if limited:
            loads = ", ".join(dict.fromkeys(str(each.load) for each in limited))
            where = f"{name}, {loads}" if len(names) > 1 else loads
            why = limited[-1].client_limit
            yield f"the client was the limit at {where}: {why}; use more --processes, or a machine of its own"


def _found(results: Results, names: dict[str, str]) -> Iterator[str]:
    for address, best in results.best.items():
        where = f"{names[address]}: " if len(names) > 1 else ""
        if best is None:
            yield f"{where}no rate keeps {results.promise}"
            continue
        yield f"{where}highest rate that keeps {results.promise}: {Load(rate=best)}"


def document(results: Results, config: LoadConfig) -> dict[str, Any]:
    """Return everything for load.json."""
    promise = results.promise
    found = None
    if promise is not None:
        best = [{"server": address, "rate": rate} for address, rate in results.best.items()]
        found = {"slo_p99_ms": promise.p99, "slo_errors": promise.errors, "highest_rates": best}
    return {
        "schema_version": 1,
        "options": config.model_dump(mode="json"),
        "interrupted": results.interrupted,
        "find_max": found,
        "measured": [each.figures for each in results.done],
    }
