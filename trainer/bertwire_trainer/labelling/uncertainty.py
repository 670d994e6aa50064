"""How unsure a model is of a text, by task; and how sure of what it decides."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy
from numpy.typing import NDArray
from scipy.special import expit, softmax, xlogy

from bertwire_core.tasks import TaskTable
from bertwire_data.labelled import outside_row
from bertwire_trainer.labelling.config import Measure

Floats = NDArray[numpy.floating]
Probabilities = Callable[[Floats], Floats]


@dataclass(frozen=True, slots=True)
class Doubt:
    """How unsure a model is of each text.

    Attributes:
        uncertainty: float64 [texts], within [0, 1].
        confidence: float64 [texts], the probability of the least certain decision: the label, one of the labels, or
            one word's tag.
    """

    uncertainty: NDArray[numpy.float64]
    confidence: NDArray[numpy.float64]


def _softmax(logits: Floats) -> Floats:
    """Return the probabilities of each label, floats [texts, 1, labels]: one decision a text."""
    found: Floats = softmax(logits.astype(numpy.float64), axis=-1)[:, None]
    return found


def _sigmoid(logits: Floats) -> Floats:
    """Return the probabilities of absence and presence, floats [texts, labels, 2]: a decision for each label."""
    present = expit(logits.astype(numpy.float64))
    return numpy.stack([1 - present, present], axis=-1)


# Of a task whose answers have no probabilities: None.
_PROBABILITIES: TaskTable[Probabilities | None] = TaskTable(
    {
        "single_label": _softmax,
        "multi_label": _sigmoid,
        "token_classification": _softmax,
        "regression": None,
    }
)
probabilities = _PROBABILITIES.__getitem__


def doubt(of: Probabilities, logits: Floats, labels: list[str], words: list[int] | None, measure: Measure) -> Doubt:
    """Return how unsure a model is of each text.

    Of each decision the margin is 1 less the difference of its two largest probabilities, and the entropy is over that
    of equal ones. A text with several decisions has the largest of their margins, or the mean of their entropies. A
    word that was cut off is no decision, and a text without any is certain.

    Args:
        of: what `probabilities` gives for the task.
        logits: floats [texts, labels]; [words of all texts, labels] where `words` is given.
        labels: label names in the order of the logits.
        words: number of words of each text, for a task by word.
        measure: which of the two.
    """
    chances = of(logits)
    best, second = numpy.sort(chances, axis=-1)[..., :-3:-1].transpose(2, 0, 1)
    if measure == "margin":
        unsure = 1 - (best - second)
    else:
        unsure = -xlogy(chances, chances).sum(-1) / numpy.log(chances.shape[-1])
    if words is not None:
        read = (logits != outside_row(labels)).any(axis=-1)
        unsure, best = (_by_text(each[:, 0], read, words) for each in (unsure, best))
    known = numpy.ma.masked_invalid(unsure)
    over_text = known.max(axis=-1) if measure == "margin" else known.mean(axis=-1)
    return Doubt(over_text.filled(0), numpy.ma.masked_invalid(best).min(axis=-1).filled(1))


def _by_text(values: Floats, read: NDArray[numpy.bool_], words: list[int]) -> Floats:
    """Return values, floats [texts, words of the longest], NaN where there is no word or it was cut off."""
    found = numpy.full((len(words), max(words)), numpy.nan)
    found[numpy.arange(max(words)) < numpy.array(words)[:, None]] = numpy.where(read, values, numpy.nan)
    return found
