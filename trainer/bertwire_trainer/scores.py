"""Measures predictions, and words the report that people read."""

from typing import Any

import numpy
from numpy.typing import NDArray

from bertwire_core.errors import UserError
from bertwire_core.tags import NONE, paired
from bertwire_core.tasks import Task
from bertwire_data.labelled import decisions, label_order, outside_row, score
from bertwire_trainer.recipe import make_loss
from bertwire_trainer.tokens import IGNORED

Floats = NDArray[numpy.floating]


def measure(
    task: Task, logits: Floats, targets: NDArray[Any], labels: list[str], words: list[int] | None
) -> dict[str, float]:
    """The figures of `score`, and the mean `loss` without label smoothing or class weights; arguments as there.

    Raises:
        UserError: a logit is not finite.
    """
    import torch

    if not numpy.isfinite(logits).all():
        raise UserError("training diverged: the model's outputs are not finite; lower --learning-rate or use fp32")
    learnt = targets
    if task == "token_classification":
        # The logits that stand for words that were cut off are none of the model's.
        learnt = numpy.where((logits == outside_row(labels)).all(axis=-1), IGNORED, targets)
    loss = make_loss(task, None, 0.0)({"logits": torch.from_numpy(logits)}, torch.from_numpy(learnt))
    return score(task, logits, targets, labels, words) | {"loss": loss.item()}


def report(task: Task, logits: Floats, targets: NDArray[Any], labels: list[str], words: list[int] | None) -> str:
    """Precision, recall, F1 and rows of each label, or type of entity, that occurs; nothing for regression."""
    if task == "single_label":
        return _single_label(logits.argmax(axis=-1), targets, labels)
    if task == "multi_label":
        return _multi_label(logits >= 0, targets > 0, labels)
    return _entities(logits, targets, labels, words) if task == "token_classification" else ""


def _single_label(predicted: NDArray[Any], targets: NDArray[Any], labels: list[str]) -> str:
    from sklearn.metrics import classification_report

    present = sorted({*targets.tolist(), *predicted.tolist()})
    names = [labels[index] for index in present]
    return str(classification_report(targets, predicted, labels=present, target_names=names, digits=4, zero_division=0))


def _multi_label(chosen: NDArray[Any], targets: NDArray[Any], labels: list[str]) -> str:
    from sklearn.metrics import classification_report

    present = numpy.flatnonzero((chosen | targets).any(axis=0))
    if not present.size:
        return "no text has a label, and none was given one"
    names = [labels[index] for index in present]
    return str(
        classification_report(
            targets[:, present],
            chosen[:, present],
            labels=range(len(names)),
            target_names=names,
            digits=4,
            zero_division=0,
        )
    )


def _entities(logits: Floats, targets: NDArray[Any], labels: list[str], words: list[int] | None) -> str:
    from sklearn.metrics import classification_report

    task: Task = "token_classification"
    true, found = paired(
        decisions(task, numpy.eye(len(labels))[targets], labels, words), decisions(task, logits, labels, words)
    )
    if not true:
        return "no text has an entity, and none was found"
    kinds = label_order({*true, *found} - {NONE})
    # With a place that has no entity on either side, which changes no figure, scikit-learn always gives the mean over
    # all entities, and never calls it accuracy.
    both = ([*true, NONE], [*found, NONE])
    return str(classification_report(*both, labels=kinds, digits=4, zero_division=0))
