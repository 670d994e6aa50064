"""The loss of a training step."""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy
import torch
from numpy.typing import NDArray

from bertwire_core.tasks import Task
from bertwire_trainer.tasks import SPECS
from bertwire_trainer.tasks.cross_entropy import IGNORED

if TYPE_CHECKING:
    from bertwire_trainer.tasks.spec import Loss as Summed

Loss = Callable[..., torch.Tensor]


def balanced_weights(label_ids: NDArray[Any], labels: int) -> torch.Tensor:
    """Return scikit-learn's balanced class weights, float32 [labels]: rows / (labels * rows of the label).

    Labels without rows do not count, and have 1.
    """
    from sklearn.utils.class_weight import compute_class_weight

    weights, present = torch.ones(labels), numpy.unique(label_ids)
    found = compute_class_weight("balanced", classes=present, y=label_ids)
    weights[present] = torch.tensor(found, dtype=torch.float32)
    return weights


def make_loss(
    task: Task,
    weights: torch.Tensor | None,
    smoothing: float,
    r_drop: float = 0.0,
    summed: "Summed | None" = None,
) -> Loss:
    """Return the loss of a task as Trainer's `compute_loss_func`: a scalar, the mean over the targets of a step.

    Args:
        task: the task.
        weights: class weights, float32 [labels]; None: all are 1.
        smoothing: label smoothing in [0, 1).
        r_drop: weight of R-Drop's divergence; above 0 the batch must hold its texts twice, one half after the other.
            The loss is the mean of both halves' losses and `r_drop` times `divergence` (Liang et al., 2021).
        summed: the summed loss of other targets than the task's; None: the task's.
    """
    summed = summed or SPECS[task].loss

    def loss(
        outputs: Mapping[str, torch.Tensor], targets: torch.Tensor, num_items_in_batch: torch.Tensor | None = None
    ) -> torch.Tensor:
        logits, halves = outputs["logits"].float(), 2 if r_drop else 1
        # Trainer counts what is not ignored over the batches of a step: texts, texts x labels, or words.
        items = targets.ne(IGNORED).sum().clamp(min=1) / halves if num_items_in_batch is None else num_items_in_batch
        total = summed(logits, targets, weights, smoothing) / halves
        if r_drop:
            one, other = logits.chunk(2)
            total = total + r_drop * divergence(task, one, other, targets.chunk(2)[0])
        return total / items

    return loss


def divergence(task: Task, one: torch.Tensor, other: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Return the summed symmetric KL divergence, the mean of both directions, of two answers, without those `IGNORED`.

    For a family with natural parameters z, the logits, and mean m(z) it is (m(a) - m(b)) (a - b) / 2: categorical with
    m the softmax, Bernoulli with the sigmoid, a normal distribution of variance 1 with the identity.

    Args:
        task: the task.
        one: logits [..., labels].
        other: logits of the same shape.
        targets: the targets that the logits are of.
    """
    mean = SPECS[task].mean
    apart = ((mean(one) - mean(other)) * (one - other)).sum(dim=-1) / 2
    return apart[targets.ne(IGNORED)].sum() if targets.shape == apart.shape else apart.sum()
