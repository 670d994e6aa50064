"""What a report shows of the decisions of a graph, by the kind of decision."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import confusion_matrix, precision_recall_fscore_support

Floats = NDArray[np.floating]
PerLabel = list[tuple[str, float, float, float, int]]


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
