"""Softmax with a temperature, in float64, where no difference of float32 numbers overflows."""

from math import exp

import numpy as np

from bertwire_runtime.output import Floats

# Most labels for which plain Python beats NumPy's call overhead.
_FEW = 20


def softmax(logits: Floats, temperature: float) -> Floats:
    """Return the softmax over the last axis of logits divided by `temperature`, float32 of the same shape."""
    if logits.ndim == 1 and len(logits) <= _FEW:
        values = logits.tolist()
        highest = max(values)
        powers = [exp((value - highest) / temperature) for value in values]
        total = sum(powers)
        return np.array([power / total for power in powers], np.float32)
    wide = logits.astype(np.float64)
    exps = np.exp((wide - wide.max(axis=-1, keepdims=True)) / temperature)
    scores: Floats = (exps / exps.sum(axis=-1, keepdims=True)).astype(np.float32)
    return scores
