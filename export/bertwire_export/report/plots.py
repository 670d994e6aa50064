"""The plots of scores, lengths and predicted numbers."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, NullFormatter
from numpy.typing import NDArray

from bertwire_export.report.svg import BLUE, INK, ORANGE

_BINS = np.linspace(0, 1, 11)
# A point is about 100 bytes of SVG.
MOST_POINTS = 3000


def reliability_plot(
    before: NDArray[np.floating],
    after: NDArray[np.floating],
    correct: NDArray[np.bool_],
    ece: tuple[float | None, float | None],
) -> Figure:
    """Share of right decisions against their score, in ten bins, and below it how many decisions lie in each.

    Args:
        before: scores before calibration, [decisions].
        after: scores after it, [decisions].
        correct: which were right, [decisions].
        ece: the expected calibration error of both, where it is known.
    """
    figure = Figure((6, 7))
    shares, counts = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
    shares.plot((0, 1), (0, 1), "--", color=INK, linewidth=1, alpha=0.5, label="perfect")
    series = [("before calibration", before, ORANGE, ece[0]), ("after calibration", after, BLUE, ece[1])]
    if np.array_equal(before, after):
        series = [("scores", after, BLUE, ece[1])]
    for title, scores, color, error in series:
        label = title if error is None else f"{title}, ECE {error:.4f}"
        _draw_scores(shares, counts, scores, correct, color, label)
    shares.set_ylabel("share that is right")
    shares.set_ylim(-0.02, 1.02)
    shares.grid()
    shares.legend(loc="upper left")
    counts.set_yscale("log")
    counts.set_ylim(bottom=0.5)
    counts.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    counts.yaxis.set_minor_formatter(NullFormatter())
    counts.set_ylabel("decisions (log)")
    counts.set_xlabel("score")
    return figure


def _draw_scores(
    shares: Axes, counts: Axes, scores: NDArray[np.floating], correct: NDArray[np.bool_], color: str, label: str
) -> None:
    bins = np.clip(np.digitize(scores, _BINS) - 1, 0, len(_BINS) - 2)
    sizes = np.bincount(bins, minlength=len(_BINS) - 1)
    filled = sizes > 0
    means = np.bincount(bins, weights=scores, minlength=len(sizes))[filled] / sizes[filled]
    right = np.bincount(bins, weights=correct, minlength=len(sizes))[filled] / sizes[filled]
    shares.plot(means, right, "o-", color=color, label=label)
    counts.stairs(np.maximum(sizes, 0.5), _BINS, baseline=0.5, color=color, linewidth=1.5)


def length_plot(lengths: NDArray[np.int64], max_length: int) -> Figure:
    """How many texts have how many tokens; those of more than twice `max_length` are counted in the last bar."""
    figure = Figure((8, 3.5))
    axes = figure.add_subplot()
    most = 2 * max_length
    shown = np.minimum(lengths, most)
    width = max(1, int(np.ceil((shown.max() + 1) / 60)))
    axes.hist(
        shown, bins=[each - 0.5 for each in range(0, shown.max() + 2 * width, width)], color=BLUE, edgecolor="none"
    )
    if max_length <= 1.5 * shown.max():
        axes.axvline(max_length, color=ORANGE, linewidth=1.5, label=f"max_length: {max_length}")
        axes.legend(loc="lower right", bbox_to_anchor=(1, 1))
    beyond = f" ({most} and more in the last bar)" if lengths.max() > most else ""
    axes.set_xlabel(f"tokens{beyond}")
    axes.set_ylabel("texts")
    axes.set_xlim(left=0)
    return figure


def scatter_plot(true: NDArray[np.floating], predicted: NDArray[np.floating], name: str) -> Figure:
    """Predicted against true numbers, at most `MOST_POINTS` of them, evenly spaced in the order of the texts."""
    figure = Figure((6, 6))
    axes = figure.add_subplot()
    chosen = np.unique(np.linspace(0, len(true) - 1, min(len(true), MOST_POINTS)).astype(int))
    ends = [min(true.min(), predicted.min()), max(true.max(), predicted.max())]
    axes.plot(ends, ends, "--", color=INK, linewidth=1, alpha=0.6, label="perfect")
    axes.plot(true[chosen], predicted[chosen], "o", color=BLUE, alpha=0.45, markersize=4, mec="none", label="a text")
    axes.set_xlabel(f"true {name}")
    axes.set_ylabel(f"predicted {name}")
    axes.set_aspect("equal", adjustable="datalim")
    axes.grid()
    axes.legend(ncols=2, loc="lower left", bbox_to_anchor=(0, 1))
    return figure
