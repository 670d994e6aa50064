"""Which pseudo-labels are learned."""

from typing import Any

import numpy
from numpy.typing import NDArray
from scipy.special import softmax


def choose(
    logits: NDArray[numpy.float32], confidence: float, counts: NDArray[numpy.integer]
) -> tuple[list[int], list[int]]:
    """Return the places of the texts to learn, in order, and their labels' ids.

    Of each label the most confident texts are taken, at most as many for each labelled row of it as the label at the
    lower quartile has, and one where that has fewer: the shares of the labels stay near those of the labelled rows,
    and a label without any confident text does not keep the others from gaining.

    Args:
        logits: float32 [texts, labels].
        confidence: the least softmax of the best label.
        counts: number of labelled rows of each label, integers [labels]; a label without rows gets none.
    """
    probabilities = softmax(logits, axis=1).max(axis=1)
    labels: NDArray[Any] = logits.argmax(axis=1)
    sure = probabilities >= confidence
    known = counts > 0
    supply = numpy.bincount(labels[sure], minlength=len(counts))[known] / counts[known]
    most = max(1.0, float(numpy.quantile(supply, 0.25, method="lower")))
    places: list[int] = []
    for label, count in enumerate(counts.tolist()):
        found = numpy.flatnonzero(sure & (labels == label))
        best_first = found[numpy.argsort(-probabilities[found], kind="stable")]
        places += best_first[: round(most * count)].tolist()
    places.sort()
    return places, labels[places].tolist()
