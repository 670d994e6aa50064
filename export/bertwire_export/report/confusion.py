"""What was mistaken for what: a matrix to see patterns in, and the most frequent confusions in words."""

from collections.abc import Sequence
from xml.etree.ElementTree import Element

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch, PathPatch
from matplotlib.path import Path
from numpy.typing import NDArray

from bertwire_export.report.markup import name, shortened, table
from bertwire_export.report.svg import INK, RED

# With more labels than this a person finds nothing in the matrix; those that are confused most are shown.
MOST_LABELS = 120
_FEW_LABELS = 15
# Lower ends of the shares of a row that look alike. Not even steps: a confusion of 3% matters and must be seen.
_LEVELS = (0.0, 0.02, 0.05, 0.1, 0.2, 0.5)
_OPACITIES = (0.2, 0.35, 0.5, 0.65, 0.8, 1.0)


def confusion_plot(confusion: NDArray[np.int64], labels: Sequence[str]) -> Figure:
    """The share of each true label's decisions that went to another label; the diagonal is only marked.

    Args:
        confusion: [labels, labels], counts, true by predicted.
        labels: their names, in that order.
    """
    shown = most_confused(confusion)
    few = len(shown) <= _FEW_LABELS
    side, size = (0.5, 9.0) if few else (0.155, 7.5)
    # The axes fill the figure, names and legend lie outside it: long names never squeeze the cells.
    figure = Figure((len(shown) * side, len(shown) * side))
    axes = figure.add_axes((0, 0, 1, 1))
    totals = np.maximum(confusion.sum(axis=1, keepdims=True), 1)
    _draw_cells(axes, (confusion / totals)[np.ix_(shown, shown)])
    if few:
        _draw_counts(axes, confusion[np.ix_(shown, shown)])
    names = [shortened(labels[index], 28) for index in shown]
    # Anchored at the tick: the browser's own fonts decide how long a name is.
    axes.set_xticks(
        range(len(shown)), names, fontsize=size, rotation=90, rotation_mode="anchor", ha="right", va="center"
    )
    axes.set_yticks(range(len(shown)), names, fontsize=size)
    axes.set(xlim=(-0.5, len(shown) - 0.5), ylim=(len(shown) - 0.5, -0.5))
    axes.tick_params(length=2)
    axes.grid(linewidth=0.4)
    axes.set_axisbelow(True)
    axes.set(xlabel="predicted", ylabel="true")
    axes.spines[:].set_visible(True)
    return figure


def most_confused(confusion: NDArray[np.int64]) -> NDArray[np.intp]:
    """Indices, ascending, of the at most `MOST_LABELS` labels that take part in most confusions."""
    wrong = _off_diagonal(confusion)
    involved = wrong.sum(axis=0) + wrong.sum(axis=1)
    return np.sort(np.argsort(-involved, kind="stable")[:MOST_LABELS])


def confusion_table(confusion: NDArray[np.int64], labels: Sequence[str], most: int = 20) -> Element | None:
    """The `most` frequent confusions, or None where there is none."""
    wrong = _off_diagonal(confusion)
    order = np.argsort(-wrong, axis=None, kind="stable")[: min(most, np.count_nonzero(wrong))]
    if not len(order):
        return None
    rows: list[list[Element | str]] = []
    for true, predicted in zip(*np.unravel_index(order, wrong.shape), strict=True):
        count, total = wrong[true, predicted], confusion[true].sum()
        rows.append([name(labels[true]), name(labels[predicted]), f"{count}", f"{count / total:.1%}"])
    return table(("true", "predicted", "times", "share of the true label"), rows)


def _off_diagonal(confusion: NDArray[np.int64]) -> NDArray[np.int64]:
    return np.where(np.eye(len(confusion), dtype=bool), 0, confusion)


def _draw_cells(axes: Axes, shares: NDArray[np.float64]) -> None:
    """One path a level, not one a cell: a matrix of 77 labels has 5929 cells."""
    diagonal = np.eye(len(shares), dtype=bool)
    axes.add_patch(_cells(diagonal, INK, 0.1))
    handles = [Patch(facecolor=INK, alpha=0.1, edgecolor="none", label="right (not scaled)")]
    for low, high, opacity in zip(_LEVELS, (*_LEVELS[1:], 1.0), _OPACITIES, strict=True):
        inside = (shares > low) & (shares <= high) & ~diagonal
        if inside.any():
            axes.add_patch(_cells(inside, RED, opacity))
        handles.append(Patch(facecolor=RED, alpha=opacity, edgecolor="none", label=f"to {high:.0%}"))
    title = "share of the true label"
    axes.legend(handles=handles, title=title, loc="upper left", bbox_to_anchor=(1, 1), alignment="left")


def _cells(chosen: NDArray[np.bool_], color: str, opacity: float) -> PathPatch:
    corners = np.array([(-0.5, -0.5), (0.5, -0.5), (0.5, 0.5), (-0.5, 0.5), (-0.5, -0.5)])
    centres = np.argwhere(chosen)[:, ::-1]
    codes = [Path.MOVETO, Path.LINETO, Path.LINETO, Path.LINETO, Path.CLOSEPOLY]
    path = Path((centres[:, None] + corners).reshape(-1, 2), codes * len(centres))
    return PathPatch(path, facecolor=color, alpha=opacity, edgecolor="none")


def _draw_counts(axes: Axes, counts: NDArray[np.int64]) -> None:
    for (true, predicted), count in np.ndenumerate(counts):
        if count:
            axes.text(predicted, true, f"{count}", ha="center", va="center", fontsize=8)
