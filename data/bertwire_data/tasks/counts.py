"""F1 from counts: how often a label is rightly decided, there, and found."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from numpy.typing import NDArray


def f1(counts: "NDArray[Any]") -> "NDArray[Any]":
    """Return F1, floats [..., labels], NaN of labels that are neither there nor found.

    Args:
        counts: floats [..., 3, labels]: decisions that are right, targets, decisions.
    """
    import numpy

    right, there, found = (counts[..., place, :] for place in range(3))
    both = there + found
    return numpy.where(both > 0, 2 * right / numpy.maximum(both, 1), numpy.nan)


def macro_f1(counts: "NDArray[Any]") -> "NDArray[Any]":
    """Return the mean F1, floats [...], over the labels that are there or found; 0 where there are none."""
    import numpy

    each = f1(counts)
    known = ~numpy.isnan(each)
    mean: NDArray[Any] = numpy.where(known, each, 0).sum(axis=-1) / numpy.maximum(known.sum(axis=-1), 1)
    return mean


def micro_f1(counts: "NDArray[Any]") -> "NDArray[Any]":
    """Return F1 over all labels together, floats [...]; 0 where there are none."""
    return macro_f1(counts.sum(axis=-1, keepdims=True))


def other_best(logits: "NDArray[Any]", rows: "NDArray[Any]") -> "NDArray[Any]":
    """Return logits, floats [rows, labels], in which the second best label of `rows` is the best one."""
    import numpy

    best, second = numpy.argsort(-logits[rows], axis=1, kind="stable")[:, :2].T
    turned = logits.copy()
    turned[rows, second] = logits[rows, best] + 1
    return turned
