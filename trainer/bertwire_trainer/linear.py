"""Fit the linear layer alone, on vectors that do not change."""

from typing import Any

import numpy
import torch
from numpy.typing import NDArray

from bertwire_core.tasks import Task
from bertwire_trainer.tasks import SPECS

# Steps of L-BFGS at most. Halved, layers of many labels are not at the minimum yet.
_STEPS = 200

Floats = NDArray[numpy.float32]


def fit_linear(vectors: Floats, targets: NDArray[Any], task: Task, labels: int) -> tuple[Floats, Floats]:
    """Return the linear layer of the least loss with an L2 penalty, as scikit-learn's logistic regression with C = 1.

    The penalty counts in standard deviations of the channels, so that vectors of any scale are alike to it.

    Args:
        vectors: float32 [texts, size].
        targets: as `encode_targets` gives them.
        task: the task.
        labels: outputs of the layer.

    Returns:
        The weight, float32 [labels, size], and the bias, float32 [labels].
    """
    mean, spread = vectors.mean(axis=0), numpy.maximum(vectors.std(axis=0), numpy.finfo(numpy.float32).eps)
    inputs, learnt = torch.from_numpy((vectors - mean) / spread), torch.from_numpy(targets)
    weight = torch.zeros(labels, vectors.shape[1], requires_grad=True)
    bias = torch.zeros(labels, requires_grad=True)
    optimizer = torch.optim.LBFGS([weight, bias], max_iter=_STEPS, line_search_fn="strong_wolfe")

    def step() -> torch.Tensor:
        optimizer.zero_grad()
        summed = SPECS[task].loss(inputs @ weight.T + bias, learnt, None, 0.0)
        loss = (summed + weight.square().sum() / 2) / len(vectors)
        loss.backward()
        return loss

    optimizer.step(step)
    scaled = weight.detach().numpy() / spread
    return scaled, bias.detach().numpy() - scaled @ mean
