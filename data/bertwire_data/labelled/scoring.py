"""From logits to decisions, and from decisions to figures."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from bertwire_core.tags import NONE, OUTSIDE, paired
from bertwire_core.tasks import Task

if TYPE_CHECKING:
    from numpy.typing import NDArray

# scikit-learn and scipy are imported where they are used.
DEFAULT_THRESHOLD = 0.5

# The first figure of each task, which chooses between models.
MAIN_METRIC: dict[Task, str] = {
    "single_label": "macro_f1",
    "multi_label": "micro_f1",
    "token_classification": "f1",
    "regression": "pearson",
}


def outside_row(labels: list[str]) -> "NDArray[Any]":
    """Logits, float32 [labels], that decide `O`: they stand for a word that was cut off and has none of its own."""
    import numpy

    row = numpy.zeros(len(labels), numpy.float32)
    row[labels.index(OUTSIDE)] = 1
    return row


def decisions(
    task: Task,
    logits: "NDArray[Any]",
    labels: list[str],
    words: list[int] | None = None,
    thresholds: Sequence[float] | None = None,
) -> list[Any]:
    """What a model decides, in the form of the targets of `Labelled`.

    Args:
        task: what the logits are for.
        logits: floats [texts, labels]; [words of all texts, labels] for token classification; [texts, 1] or [texts]
            for regression.
        labels: label names in the order of the logits.
        words: number of words of each text, for token classification.
        thresholds: for multi_label the sigmoid from which on each label is chosen; None: 0.5 for all.

    Returns:
        For each text its best label, its labels, its words' best tags, or its number.
    """
    if task == "regression":
        return [float(value) for value in logits.reshape(-1)]
    if task == "multi_label":
        chosen = present(logits, thresholds)
        return [[label for label, on in zip(labels, row, strict=True) if on] for row in chosen]
    best = [labels[index] for index in logits.argmax(axis=-1)]
    return best if task == "single_label" else _by_text(best, words)


def score(
    task: Task,
    logits: "NDArray[Any]",
    targets: "NDArray[Any]",
    labels: list[str],
    words: list[int] | None = None,
    thresholds: Sequence[float] | None = None,
) -> dict[str, float]:
    """Figures of `logits` against the `targets` of `encode_targets`; the first one is the one that chooses a model.

    A word that the model did not read, since its text was cut, has no logits: pass `outside_row(labels)` for it, so
    that its entities count as missed.

    Args:
        task: what the logits are for.
        logits: as for `decisions`; finite.
        targets: as `encode_targets` gives them.
        labels: label names in the order of the logits.
        words: number of words of each text, for token classification.
        thresholds: as for `decisions`.

    Returns:
        single_label: `macro_f1` (over the labels that occur, as label or as decision), `accuracy`. multi_label:
        `micro_f1`, `macro_f1` (likewise), `subset_accuracy` (texts whose labels are all right). token_classification:
        `f1`, `precision`, `recall` of whole entities (see `bertwire_core.tags.spans`; CoNLL-2003's exact match).
        regression: `pearson`, `spearman` (0 where numbers or predictions are all the same), `mae` (mean
        absolute error).
    """
    if task == "single_label":
        return _single_label(logits, targets)
    if task == "multi_label":
        return _multi_label(present(logits, thresholds), targets)
    if task == "token_classification":
        true = _by_text([labels[index] for index in targets], words)
        return _entities(true, decisions(task, logits, labels, words))
    return _regression(logits.reshape(-1), targets)


def present(logits: "NDArray[Any]", thresholds: Sequence[float] | None) -> "NDArray[Any]":
    """The labels that a multi_label model chooses, bool [texts, labels]: where the sigmoid reaches the threshold."""
    import numpy
    from scipy.special import expit

    limits = DEFAULT_THRESHOLD if thresholds is None else numpy.asarray(thresholds, numpy.float64)
    chosen: NDArray[Any] = expit(logits.astype(numpy.float64)) >= limits
    return chosen


def _by_text(tags: list[str], words: list[int] | None) -> list[list[str]]:
    if words is None:
        raise TypeError("token classification needs the number of words of each text")
    if sum(words) != len(tags):
        raise ValueError(f"{len(tags)} rows of logits for {sum(words)} words")
    each = iter(tags)
    return [[next(each) for _ in range(count)] for count in words]


def _single_label(logits: "NDArray[Any]", targets: "NDArray[Any]") -> dict[str, float]:
    from sklearn.metrics import accuracy_score, f1_score

    best = logits.argmax(axis=-1)
    macro = f1_score(targets, best, average="macro", zero_division=0)
    return {"macro_f1": float(macro), "accuracy": float(accuracy_score(targets, best))}


def _multi_label(chosen: "NDArray[Any]", targets: "NDArray[Any]") -> dict[str, float]:
    true = targets > DEFAULT_THRESHOLD
    right, counted = (true & chosen).sum(axis=0), true.sum(axis=0) + chosen.sum(axis=0)
    occur = counted > 0
    each = 2 * right[occur] / counted[occur]
    return {
        "micro_f1": float(2 * right.sum() / counted.sum()) if occur.any() else 0.0,
        "macro_f1": float(each.mean()) if occur.any() else 0.0,
        "subset_accuracy": float((true == chosen).all(axis=1).mean()),
    }


def _entities(true: list[list[str]], predicted: list[list[str]]) -> dict[str, float]:
    ours, theirs = paired(true, predicted)
    right = sum(one == other for one, other in zip(ours, theirs, strict=True))
    there, found = (sum(kind != NONE for kind in side) for side in (ours, theirs))
    return {
        "f1": 2 * right / (there + found) if right else 0.0,
        "precision": right / found if right else 0.0,
        "recall": right / there if right else 0.0,
    }


def _regression(predicted: "NDArray[Any]", targets: "NDArray[Any]") -> dict[str, float]:
    import numpy
    from scipy.stats import rankdata

    predicted = predicted.astype(numpy.float64)
    return {
        "pearson": _correlation(predicted, targets),
        "spearman": _correlation(rankdata(predicted), rankdata(targets)),
        "mae": float(numpy.abs(predicted - targets).mean()),
    }


def _correlation(one: "NDArray[Any]", other: "NDArray[Any]") -> float:
    import numpy

    if one.min() == one.max() or other.min() == other.max():
        return 0.0
    one, other = (values - values.mean() for values in (one, other))
    norms = numpy.linalg.norm(one) * numpy.linalg.norm(other)
    return float(numpy.clip(one @ other / norms, -1, 1)) if norms > 0 else 0.0
