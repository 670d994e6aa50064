"""The plot of the comparison."""

from collections.abc import Mapping
from pathlib import Path

from matplotlib.figure import Figure

from bench.figures import Figures


def plot(figures: Mapping[str, Mapping[int, Figures]], calls: int, path: Path) -> None:
    """Draw texts a second and the p99 of each server with so many calls in flight.

    Args:
        figures: by server, by calls in flight.
        calls: which of them.
        path: the PNG to write.
    """
    names = [name for name, each in figures.items() if calls in each]
    figure = Figure((10, 0.5 * len(names) + 1.2), layout="constrained")
    axes = figure.subplots(1, 2, sharey=True)
    for each, (key, title) in zip(axes, (("texts_per_second", "texts a second"), ("p99_ms", "p99, ms")), strict=True):
        values = [figures[name][calls][key] for name in names]
        bars = each.barh(names, values, color=["tab:blue", *["0.7"] * (len(names) - 1)])
        each.bar_label(bars, fmt="%.0f", padding=2)
        each.set_title(f"{title}, {calls} in flight")
        each.margins(x=0.12)
        each.spines[["top", "right"]].set_visible(False)
    axes[0].invert_yaxis()
    figure.savefig(path, dpi=100)
