"""The loss of a training step."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy
import torch
from numpy.typing import NDArray

from bertwire_core.tasks import Task
from bertwire_trainer.tasks import SPECS
from bertwire_trainer.tasks.cross_entropy import IGNORED

Loss = Callable[..., torch.Tensor]


def balanced_weights(label_ids: NDArray[Any], labels: int) -> torch.Tensor:
    """Return scikit-learn's balanced class weights, float32 [labels]: rows / (labels * rows of the label)."""
    from sklearn.utils.class_weight import compute_class_weight

    weights = compute_class_weight("balanced", classes=numpy.arange(labels), y=label_ids)
    return torch.tensor(weights, dtype=torch.float32)


def make_loss(task: Task, weights: torch.Tensor | None, smoothing: float) -> Loss:
    """Return the loss of a task as Trainer's `compute_loss_func`: a scalar, the mean over the targets of a step.

    Args:
        task: the task.
        weights: class weights, float32 [labels]; None: all are 1.
        smoothing: label smoothing in [0, 1).
    """
    summed = SPECS[task].loss

    def loss(
        outputs: Mapping[str, torch.Tensor], targets: torch.Tensor, num_items_in_batch: torch.Tensor | None = None
    ) -> torch.Tensor:
        # Trainer counts what is not ignored over the batches of a step: texts, texts x labels, or words.
        items = targets.ne(IGNORED).sum().clamp(min=1) if num_items_in_batch is None else num_items_in_batch
        return summed(outputs["logits"].float(), targets, weights, smoothing) / items

    return loss
