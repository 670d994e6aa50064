"""Logits to scores and labels."""

import numpy as np
from numpy.typing import NDArray


def softmax(logits: NDArray[np.float32], temperature: float) -> NDArray[np.float32]:
    """Scores of one-label classification: float32 [labels] logits to float32 [labels] that sum to 1.

    The logits are divided by `temperature` first, which export has fitted so that a score is the chance to be right.
    """
    powers = np.exp((logits - logits.max()) / np.float32(temperature))
    scores: NDArray[np.float32] = powers / powers.sum()
    return scores


def best(scores: NDArray[np.float32], count: int | None) -> list[int]:
    """Indices of the `count` highest scores (None: of all), highest first; equal scores keep the labels' order."""
    order: list[int] = np.argsort(-scores, kind="stable")[:count].tolist()
    return order
