"""Vectors of length 1. Needs numpy."""

from typing import TypeVar

import numpy
from numpy.typing import NDArray

Floats = NDArray[numpy.floating]
FloatT = TypeVar("FloatT", bound=numpy.floating)

# The norm below which a vector is divided by this, as in graphs that normalize.
_LEAST_NORM = 1e-12


def norms(vectors: Floats) -> NDArray[numpy.float64]:
    """Return the Euclidean norm of each vector, [..., dimensions], and 1e-12 at least: float64 [...]."""
    wide = vectors.astype(numpy.float64)
    found: NDArray[numpy.float64] = numpy.maximum(numpy.linalg.norm(wide, axis=-1), _LEAST_NORM)
    return found


def normalized(vectors: NDArray[FloatT]) -> NDArray[FloatT]:
    """Return vectors, [..., dimensions], divided by their norms, of the same type."""
    return (vectors / norms(vectors)[..., None]).astype(vectors.dtype)
