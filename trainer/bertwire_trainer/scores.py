"""Figures of predictions, and the report that people read."""

from typing import Any

import numpy
from numpy.typing import NDArray

from bertwire_core.errors import UserError
from bertwire_core.tasks import Task
from bertwire_data.labelled import outside_row, score
from bertwire_trainer.loop.loss import make_loss
from bertwire_trainer.tasks import SPECS
from bertwire_trainer.tasks.cross_entropy import IGNORED

Floats = NDArray[numpy.floating]


class NotFiniteError(UserError):
    """A model's answers are NaN or infinite."""


def measure(
    task: Task, logits: Floats, targets: NDArray[Any], labels: list[str], words: list[int] | None
) -> dict[str, float]:
    """Return the figures of `score`, and the mean `loss` without label smoothing or class weights.

    Args:
        task: the task.
        logits: floats [rows of `targets`, labels].
        targets: as `encode_targets` gives them.
        labels: label names in id order.
        words: number of words of each text, for a task by word; else None.

    Raises:
        NotFiniteError: a logit is not finite.
    """
    import torch

    if not numpy.isfinite(logits).all():
        raise NotFiniteError("training diverged: the model's outputs are not finite; lower --learning-rate or use fp32")
    learnt = targets
    if SPECS[task].by_word:
        # The logits that stand for words that were cut off are not the model's.
        learnt = numpy.where((logits == outside_row(labels)).all(axis=-1), IGNORED, targets)
    loss = make_loss(task, None, 0.0)({"logits": torch.from_numpy(logits)}, torch.from_numpy(learnt))
    return score(task, logits, targets, labels, words) | {"loss": loss.item()}


def report(task: Task, logits: Floats, targets: NDArray[Any], labels: list[str], words: list[int] | None) -> str:
    """Return precision, recall, F1 and rows of each label, or type of entity, that occurs; "" for regression.

    Arguments as for `measure`.
    """
    return SPECS[task].report(logits, targets, labels, words)
