"""Fit the linear layer alone, on vectors that do not change."""

from typing import TYPE_CHECKING, Any

import numpy
import torch
from numpy.typing import NDArray

from bertwire_core.tasks import Task
from bertwire_data.labelled import MAIN_METRIC
from bertwire_trainer.messages import note
from bertwire_trainer.scores import measure
from bertwire_trainer.tasks import SPECS

if TYPE_CHECKING:
    from bertwire_core.pooled import PooledClassifier
    from bertwire_trainer.data import Data

# Strengths that cross-validation compares, from the largest, in folds, on so many texts at most. With neighbours nearer
# to one another scores differ by chance; with half of the texts a layer of many labels gets too strong a penalty.
STRENGTHS = (100.0, 10.0, 1.0, 0.1, 0.01)
_FOLDS, _MOST_TEXTS = 3, 2000
# Steps of L-BFGS at most. Halved, layers of many labels are not at the minimum yet.
_STEPS = 200

Floats = NDArray[numpy.float32]


def fit_head(model: "PooledClassifier", vectors: Floats, data: "Data", seed: int, strength: float | None) -> None:
    """Fit the linear layer of a model on what it reads of train; choose a strength, and say so, where none is given.

    Args:
        model: the model, on the CPU.
        vectors: float32 [texts of train, size].
        data: the labelled rows.
        seed: of the choice.
        strength: as for `fit_linear`; None: by cross-validation.
    """
    asked = (vectors, data.targets["train"], data.task)
    if strength is None:
        strength = choose_strength(*asked, data.labels, seed)
        note(f"--strength {strength:g}: the best of cross-validation on train")
    weight, bias = fit_linear(*asked, len(data.labels), strength)
    model.set_head(torch.from_numpy(weight), torch.from_numpy(bias))


def fit_linear(
    vectors: Floats, targets: NDArray[Any], task: Task, labels: int, strength: float = 1.0
) -> tuple[Floats, Floats]:
    """Return the linear layer of the least loss with an L2 penalty, as scikit-learn's logistic regression has it.

    The penalty counts in standard deviations of the channels, so that vectors of any scale are alike to it.

    Args:
        vectors: float32 [texts, size].
        targets: as `encode_targets` gives them.
        task: the task.
        labels: outputs of the layer.
        strength: of the penalty: 1 / C of scikit-learn's.

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
        loss = (summed + strength * weight.square().sum() / 2) / len(vectors)
        loss.backward()
        return loss

    optimizer.step(step)
    scaled = weight.detach().numpy() / spread
    return scaled, bias.detach().numpy() - scaled @ mean


def choose_strength(vectors: Floats, targets: NDArray[Any], task: Task, labels: list[str], seed: int) -> float:
    """Return the strength, of STRENGTHS, of the best mean score in cross-validation; of equal ones the largest.

    Args:
        vectors: float32 [texts, size]; beyond _MOST_TEXTS a sample of them is used.
        targets: as for `fit_linear`.
        task: the task.
        labels: the names of the outputs.
        seed: of the sample and of the folds.
    """
    order = numpy.random.default_rng(seed).permutation(len(vectors))[:_MOST_TEXTS]
    folds = numpy.array_split(order, min(_FOLDS, len(order)))
    scores = dict.fromkeys(STRENGTHS, 0.0)
    for held in folds if len(folds) > 1 else ():
        learnt = numpy.setdiff1d(order, held)
        for strength in STRENGTHS:
            weight, bias = fit_linear(vectors[learnt], targets[learnt], task, len(labels), strength)
            found = measure(task, vectors[held] @ weight.T + bias, targets[held], labels, None)
            scores[strength] += found[MAIN_METRIC[task]]
    return max(STRENGTHS, key=scores.__getitem__)
