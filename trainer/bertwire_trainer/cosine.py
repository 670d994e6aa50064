"""Heads by cosine similarity: a normalized vector for each class, times one scale for all of them."""

from typing import Any

import numpy
import torch
from numpy.typing import NDArray

from bertwire_core.pooled import PooledClassifier
from bertwire_core.vectors import normalized
from bertwire_trainer.method import Job
from bertwire_trainer.predict import embed

# The scale is at most this, in logits for a cosine of 1. Halved, the probabilities of encoders whose cosines lie close
# together stay near to one another; larger ones come near to the rounding that export allows a logit.
_MOST_SCALE = 100.0
# Largest difference of the lengths of a head's rows, as a share of them, that rounding explains.
_ROUNDING = 1e-4

Floats = NDArray[numpy.float32]


def class_means(vectors: Floats, targets: NDArray[Any], classes: int) -> Floats:
    """Return the mean vector of each class, normalized: float32 [classes, size].

    Args:
        vectors: float32 [texts, size].
        targets: the class of each text, int64 [texts]; every class has a text.
        classes: number of classes.
    """
    return normalized(numpy.stack([vectors[targets == each].mean(axis=0) for each in range(classes)]))


def fit_scale(cosines: Floats, targets: NDArray[Any]) -> float:
    """Return the scale, from 1 to 100, at which `scale * cosines` have the least mean cross-entropy.

    Args:
        cosines: float32 [texts, classes].
        targets: the class of each text, int64 [texts].
    """
    from scipy.optimize import minimize_scalar
    from scipy.special import logsumexp

    of_targets = cosines[numpy.arange(len(targets)), targets]

    def loss(logarithm: float) -> float:
        scale = numpy.exp(logarithm)
        return float((logsumexp(scale * cosines, axis=1) - scale * of_targets).mean())

    return float(numpy.exp(minimize_scalar(loss, bounds=(0.0, numpy.log(_MOST_SCALE)), method="bounded").x))


def set_cosine_head(job: Job, model: PooledClassifier, directions: Floats) -> float:
    """Make the model's linear layer give scaled cosines to the rows of `directions`; return the scale, fitted on dev.

    Args:
        job: the job; its dev has the texts to fit on.
        model: the model, whose pooling normalizes.
        directions: normalized vectors, float32 [labels, size].
    """
    (vectors,) = embed(model, job.tokenizer, job.tokens["dev"], "embed dev")
    scale = fit_scale(vectors @ directions.T, job.tokens["dev"].targets)
    model.set_head(torch.from_numpy(scale * directions), torch.zeros(len(directions)))
    return scale


def cosine_scale(model: PooledClassifier) -> float | None:
    """Return the scale of a head that gives scaled cosines; None for a head of another kind."""
    lengths = model.head.weight.detach().norm(dim=1)
    longest, shortest = float(lengths.max()), float(lengths.min())
    if not model.pooling.normalize or model.head.bias.any() or longest - shortest > _ROUNDING * longest:
        return None
    return longest
