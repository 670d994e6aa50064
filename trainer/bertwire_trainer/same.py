"""Whether two sets of logits are the same but for rounding."""

import numpy
from numpy.typing import NDArray

# Share of the largest logit, or of 1 where all are smaller. Sums of fp32 in another order differ by some 1e-6 of it;
# halved, nothing breaks in fp32, and sums in TF32, whose steps are 5e-4 of a number, come close.
_ROUNDING = 1e-3


def difference(one: NDArray[numpy.floating], other: NDArray[numpy.floating]) -> float | None:
    """Return the largest difference of two arrays of logits of one shape; None where it is no more than rounding."""
    worst = float(numpy.abs(one - other).max())
    return worst if worst > _ROUNDING * max(1.0, float(numpy.abs(one).max())) else None
