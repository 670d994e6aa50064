"""The measure by which a model abstains: how much a text looks like those of its labels. Needs numpy."""

import numpy
from numpy.typing import NDArray


def scopes(logits: NDArray[numpy.floating]) -> NDArray[numpy.float64]:
    """Return the scope of each row of logits [..., labels], float64 [...]: the logarithm of the sum of their exponents.

    It is the negative energy of Liu et al. (2020); texts of other kinds than those of train have less of it.
    """
    wide = logits.astype(numpy.float64)
    highest = wide.max(axis=-1, keepdims=True)
    found: NDArray[numpy.float64] = numpy.log(numpy.exp(wide - highest).sum(axis=-1)) + highest[..., 0]
    return found
