"""The tables and the plot."""

from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from rich.table import Table

from bench.bars import Row
from bench.figures import Figures
from bench.timeline import BIN_SECONDS, Timeline

_COLUMNS = {
    "cpu_ms_per_text": ("CPU-ms", "{:.2f}"),
    "padding": ("padding", "{:.0%}"),
    "texts_per_second": ("texts/s", "{:.0f}"),
    "p50_ms": ("p50", "{:.1f}"),
    "p95_ms": ("p95", "{:.1f}"),
    "p99_ms": ("p99", "{:.1f}"),
}
_COLORS = {"answered": "tab:blue", "refused": "tab:orange", "missed": "tab:red"}


def modes_table(variant: str, modes: dict[str, Figures]) -> Table:
    """What takes turns: raw ONNX Runtime and the server, mode by mode."""
    title = f"{variant}: CPU-milliseconds a text; a run's or a call's time in ms; the median round"
    table = Table("", *(name for name, _ in _COLUMNS.values()), title=title)
    for mode, figures in modes.items():
        if "cpu_ms_per_text" in figures:
            cells = (form.format(figures[key]) if key in figures else "" for key, (_, form) in _COLUMNS.items())
            table.add_row(mode, *cells)
    return table


def bars_table(variant: str, rows: list[Row]) -> Table:
    """Every bar; those that are not met in red."""
    table = Table("", "figure", "bar", "", "", title=f"{variant}: what it has to reach")
    for row in rows:
        figure = "" if row.figure is None else row.form.format(row.figure)
        bar = f"{row.comparison} {row.form.format(row.bar)}"
        table.add_row(row.name, figure, bar, "met" if row.met else "NOT MET", row.note, style="" if row.met else "red")
    return table


def plot(timelines: dict[str, dict[str, Timeline]], path: Path) -> None:
    """Answers, refusals and missed deadlines a second through the storm and the overload, a row for each variant."""
    found = {variant: modes for variant, modes in timelines.items() if modes}
    if not found:
        return
    columns = sorted({mode for modes in found.values() for mode in modes}, reverse=True)
    figure = Figure((7 * len(columns), 3.5 * len(found)), layout="constrained")
    grid = figure.subplots(len(found), len(columns), squeeze=False)
    for axes_row, (variant, modes) in zip(grid, found.items(), strict=True):
        for axes, mode in zip(axes_row, columns, strict=True):
            axes.set_title(f"{variant}: {mode}")
            if mode not in modes:
                continue
            line = modes[mode]
            axes.axvspan(*line["phases"], color="0.93")
            axes.axhline(line["capacity"], color="0.5", linestyle="--", linewidth=1, label="capacity")
            for name, values in (
                ("answered", line["answered"]),
                ("refused", line["refused"]),
                ("missed", line["missed"]),
            ):
                axes.plot((np.arange(len(values)) + 0.5) * BIN_SECONDS, values, color=_COLORS[name], label=name)
            axes.set_xlabel("seconds")
            axes.set_ylabel("calls a second")
            # Refusals may be many times as many as answers.
            axes.set_yscale("symlog", linthresh=10)
            axes.set_ylim(bottom=0)
            axes.legend(loc="lower right")
    figure.savefig(path, dpi=100)
