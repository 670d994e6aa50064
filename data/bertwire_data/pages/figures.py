"""What a report shows of decisions beside the targets, by the kind of decision."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import confusion_matrix, precision_recall_fscore_support

Floats = NDArray[np.floating]
PerLabel = list[tuple[str, float, float, float, int]]

# Labels of the confusion matrix; with many more a person finds nothing in it, with half as many 77 do not fit.
MOST_LABELS = 120
# Points of the scatter plot; with many more they cover each other.
MOST_POINTS = 3000
# Rows of the table of confusions; with half as many every second pair is left out.
_MOST_CONFUSIONS = 20
# Bins of the calibration error. With half as many, errors of opposite sign within a bin cancel out; with many more a
# bin of a small dev split holds too few decisions to have a share of right ones.
_BINS = 15


@dataclass(frozen=True, slots=True)
class Figures:
    """Decisions beside the targets. A part that a task does not have is None.

    Attributes:
        confusion: int64 [labels, labels], how often the true label (row) was predicted as which (column).
        per_label: label, precision, recall, F1 and support, one a label.
        scatter: the true numbers and the predicted ones, each [texts].
    """

    confusion: NDArray[np.int64] | None = None
    per_label: PerLabel | None = None
    scatter: tuple[Floats, Floats] | None = None


def of_classes(targets: NDArray[Any], decided: NDArray[Any], labels: Sequence[str]) -> Figures:
    """Return the figures of one label a row; targets and decisions are label indices, int64 [rows]."""
    confusion = confusion_matrix(targets, decided, labels=list(range(len(labels))))
    return Figures(confusion, _per_label(targets, decided, labels))


def of_labels(targets: NDArray[Any], decided: NDArray[Any], labels: Sequence[str]) -> Figures:
    """Return the figures of any number of labels a row; targets and decisions are bool [rows, labels]."""
    return Figures(per_label=_per_label(targets, decided, labels))


def _per_label(targets: NDArray[Any], decided: NDArray[Any], labels: Sequence[str]) -> PerLabel:
    numbers = list(range(len(labels)))
    scores = precision_recall_fscore_support(targets, decided, labels=numbers, zero_division=0)
    return [
        (label, float(precision), float(recall), float(f1), int(support))
        for label, precision, recall, f1, support in zip(labels, *scores, strict=True)
    ]


def most_confused(confusion: NDArray[np.int64]) -> NDArray[np.intp]:
    """Return the indices, ascending, of the at most `MOST_LABELS` labels that take part in most confusions."""
    wrong = _off_diagonal(confusion)
    involved = wrong.sum(axis=0) + wrong.sum(axis=1)
    return np.sort(np.argsort(-involved, kind="stable")[:MOST_LABELS])


def confusions(confusion: NDArray[np.int64], labels: Sequence[str]) -> Iterator[tuple[str, str, str, str]]:
    """Yield the most frequent confusions: true and predicted label, times, and share of the true label."""
    wrong = _off_diagonal(confusion)
    order = np.argsort(-wrong, axis=None, kind="stable")[: min(_MOST_CONFUSIONS, np.count_nonzero(wrong))]
    for true, predicted in zip(*np.unravel_index(order, wrong.shape), strict=True):
        count = wrong[true, predicted]
        yield labels[true], labels[predicted], f"{count}", f"{count / confusion[true].sum():.1%}"


def calibration_error(confidences: Floats, right: NDArray[np.bool_]) -> float:
    """Return the expected calibration error over 15 bins of equal width (Naeini et al., 2015), within [0, 1]."""
    bins = np.minimum((confidences * _BINS).astype(int), _BINS - 1)
    counts = np.bincount(bins, minlength=_BINS)
    sure = np.bincount(bins, weights=confidences, minlength=_BINS)
    hits = np.bincount(bins, weights=right.astype(np.float64), minlength=_BINS)
    return float(np.abs(sure - hits).sum() / max(counts.sum(), 1))


def _off_diagonal(confusion: NDArray[np.int64]) -> NDArray[np.int64]:
    return np.where(np.eye(len(confusion), dtype=bool), 0, confusion)
