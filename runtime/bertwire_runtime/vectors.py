"""Vectors of texts, cut to fewer dimensions."""

import numpy as np

from bertwire_runtime.output import Floats

# The norm below which a vector is divided by this, as in the graph.
_LEAST_NORM = 1e-12


def resized(vector: Floats, dimensions: int | None = None, *, normalize: bool) -> Floats:
    """Return the first `dimensions` of a vector (None: all), divided by their Euclidean norm where `normalize` is on.

    Models that were trained for it (Matryoshka representation learning, Kusupati et al., 2022) lose little by the cut.

    Args:
        vector: float32 [dimensions].
        dimensions: at least 1; above the vector's own it has no effect.
        normalize: whether the result has the norm 1.
    """
    cut = vector[:dimensions]
    if not normalize:
        return cut
    found: Floats = cut / np.float32(max(float(np.linalg.norm(cut)), _LEAST_NORM))
    return found
