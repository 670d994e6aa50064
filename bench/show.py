"""The tables and the plot."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from rich.table import Table

from bench.bars import Row
from bench.figures import Figures
from bench.timeline import BIN_SECONDS, Timeline

_FIGURES = {
    "cpu_ms_per_text": ("CPU-ms a text", "{:.2f}"),
    "texts_per_second": ("texts/s", "{:.0f}"),
    "p50_ms": ("p50, ms", "{:.1f}"),
    "p99_ms": ("p99, ms", "{:.1f}"),
    "alone_p99_ms": ("p99 of single calls alone, ms", "{:.1f}"),
    "beside_p99_ms": ("p99 beside a large call, ms", "{:.1f}"),
    "capacity": ("capacity, texts/s", "{:.0f}"),
    "offered": ("offered, texts/s", "{:.0f}"),
    "goodput": ("answered in time, texts/s", "{:.0f}"),
    "late_share": ("admitted that were not", "{:.1%}"),
    "refusal_p99_ms": ("p99 of refusals less the client's lag, ms", "{:.1f}"),
    "client_lag_p99_ms": ("p99 of the client's lag, ms", "{:.1f}"),
    "recovered_share": ("speed 1 s after it over capacity", "{:.1%}"),
    "memory_growth": ("growth of memory", "{:.2%}"),
}
_COLORS = {"answered": "tab:blue", "refused": "tab:orange", "missed": "tab:red"}


def figures_table(title: str, sides: Mapping[str, Mapping[str, Figures]]) -> Table:
    """Return a table of the figures of each mode, the sides beside each other.

    Args:
        title: its title.
        sides: by side, by mode, the median round.
    """
    table = Table("", "the median round", *sides, title=title)
    for mode in dict.fromkeys(mode for modes in sides.values() for mode in modes):
        found = [modes.get(mode, {}) for modes in sides.values()]
        for key, (name, form) in _FIGURES.items():
            if any(key in figures for figures in found):
                table.add_row(mode, name, *(form.format(each[key]) if key in each else "" for each in found))
        table.add_section()
    return table


def bars_table(title: str, rows: Sequence[Row]) -> Table:
    """Return a table of the bars; those that are not met are red."""
    table = Table("", "figure", "bar", "", title=title)
    for row in rows:
        figure = "not measured" if row.figure is None else row.bar.form.format(row.figure)
        limit = f"{row.bar.comparison} {row.bar.form.format(row.bar.limit)}"
        table.add_row(row.bar.name, figure, limit, "met" if row.met else "NOT MET", style="" if row.met else "red")
    return table


def plot(timelines: Mapping[str, Timeline], path: Path) -> None:
    """Draw answers, refusals and missed deadlines a second through the overloads; nothing where there are none.

    Args:
        timelines: by title, the calls of one overload.
        path: the PNG to write.
    """
    if not timelines:
        return
    columns = min(2, len(timelines))
    lines = -(-len(timelines) // columns)
    figure = Figure((7 * columns, 3.5 * lines), layout="constrained")
    axes = figure.subplots(lines, columns, squeeze=False).flat
    for (title, line), each in zip(timelines.items(), axes, strict=False):
        _draw(each, title, line)
    figure.savefig(path, dpi=100)


def _draw(axes: Axes, title: str, line: Timeline) -> None:
    axes.set_title(title)
    axes.axvspan(*line["phases"], color="0.93")
    axes.axhline(line["capacity"], color="0.5", linestyle="--", linewidth=1, label="capacity")
    for name, values in (("answered", line["answered"]), ("refused", line["refused"]), ("missed", line["missed"])):
        axes.plot((np.arange(len(values)) + 0.5) * BIN_SECONDS, values, color=_COLORS[name], label=name)
    axes.set_xlabel("seconds")
    axes.set_ylabel("calls a second")
    # Refusals may be many times as many as answers.
    axes.set_yscale("symlog", linthresh=10)
    axes.set_ylim(bottom=0)
    axes.legend(loc="lower right")
