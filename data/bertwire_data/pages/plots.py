"""Draw the plots of labels and scores."""

from collections.abc import Sequence

import numpy as np
from matplotlib.colors import PowerNorm
from matplotlib.figure import Figure
from numpy.typing import NDArray
from sklearn.calibration import calibration_curve

from bertwire_data.pages.display import shortened
from bertwire_data.pages.figures import MOST_POINTS, Floats, most_confused

# Title, scores [decisions], colour, and calibration error of one line.
Series = tuple[str, Floats, str, float | None]

_BINS = 10
# Labels up to which the cells of the confusion matrix have numbers; with many more these do not fit.
_FEW_LABELS = 15


def reliability(series: Sequence[Series], right: NDArray[np.bool_]) -> Figure:
    """Plot the share of right decisions against their scores, and below it how many decisions lie in each bin."""
    figure = Figure((6, 7))
    shares, counts = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
    shares.plot((0, 1), (0, 1), "--", color="gray", label="perfect")
    for title, scores, color, error in series:
        clipped = np.clip(scores, 0, 1)  # a softmax may round to more than 1
        share, mean = calibration_curve(right, clipped, n_bins=_BINS)
        shares.plot(mean, share, "o-", color=color, label=title if error is None else f"{title}, ECE {error:.4f}")
        counts.hist(clipped, _BINS, range=(0, 1), histtype="step", log=True, color=color)
    shares.set(ylabel="share that is right", ylim=(-0.02, 1.02))
    shares.legend(loc="upper left")
    counts.set(xlabel="score", ylabel="decisions")
    # matplotlib's own formatter of logarithmic axes writes mathematical notation, which text here is not read as.
    counts.yaxis.set_major_formatter("{x:g}")
    counts.yaxis.set_minor_formatter("")
    return figure


def confusion_matrix(confusion: NDArray[np.int64], labels: Sequence[str]) -> Figure:
    """Plot the share of each true label's decisions that went to each label, for the labels that are confused most."""
    shown = most_confused(confusion)
    few = len(shown) <= _FEW_LABELS
    side, size = (0.5, 9.0) if few else (0.155, 7.5)
    # The axes fill the figure, and names and scale lie outside it: long names never squeeze the cells.
    figure = Figure((len(shown) * side, len(shown) * side))
    axes = figure.add_axes((0, 0, 1, 1))
    shares = (confusion / np.maximum(confusion.sum(axis=1, keepdims=True), 1))[np.ix_(shown, shown)]
    # Not an even scale: a confusion of 3% matters and must be seen.
    image = axes.imshow(shares, cmap="Reds", norm=PowerNorm(0.4, 0, 1), interpolation="none")
    beside = figure.add_axes((1 + 0.2 / figure.get_figwidth(), 0, 0.15 / figure.get_figwidth(), 1))
    figure.colorbar(image, beside, label="share of the true label", format="{x:.0%}", ticks=(0, 0.03, 0.1, 0.3, 1))
    if few:
        for (true, predicted), count in np.ndenumerate(confusion[np.ix_(shown, shown)]):
            if count:
                color = "white" if shares[true, predicted] > 0.3 else "black"
                axes.text(predicted, true, f"{count}", ha="center", va="center", fontsize=8, color=color)
    names = [shortened(labels[index], 28) for index in shown]
    axes.set_xticks(range(len(shown)), names, fontsize=size, rotation=90)
    axes.set_yticks(range(len(shown)), names, fontsize=size)
    axes.set(xlabel="predicted", ylabel="true")
    return figure


def scatter(true: Floats, predicted: Floats, name: str) -> Figure:
    """Plot predicted against true numbers, at most `MOST_POINTS` of them, evenly spaced in the order of the texts."""
    figure = Figure((6, 6))
    axes = figure.subplots()
    chosen = np.unique(np.linspace(0, len(true) - 1, min(len(true), MOST_POINTS)).astype(int))
    ends = [min(true.min(), predicted.min()), max(true.max(), predicted.max())]
    axes.plot(ends, ends, "--", color="gray", label="perfect")
    # As pixels: thousands of single shapes make a slow page.
    axes.plot(true[chosen], predicted[chosen], "o", alpha=0.45, markersize=4, label="a text", rasterized=True)
    axes.set(xlabel=f"true {name}", ylabel=f"predicted {name}")
    axes.set_aspect("equal", adjustable="datalim")
    axes.legend(loc="upper left")
    return figure
