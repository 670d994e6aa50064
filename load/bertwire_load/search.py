"""Search for the highest rate that keeps a promise."""

import math
from dataclasses import dataclass

from bertwire_load.measured import Measured

# Ratio of the lowest rate that breaks the promise to the highest that keeps it, at which the search ends.
_PRECISION = 1.05
# Calls a second below which no rate is tried.
_LEAST_RATE = 0.1


@dataclass(frozen=True, slots=True)
class Promise:
    """What a rate has to keep.

    Attributes:
        p99: milliseconds that 99% of the answered calls do not exceed.
        errors: greatest share of calls that are not answered.
    """

    p99: float
    errors: float

    def kept(self, measured: Measured) -> bool:
        """Return whether a measurement keeps it."""
        p99 = measured.latency.percentile(99)
        return p99 is not None and p99 <= self.p99 and measured.error_share <= self.errors

    def __str__(self) -> str:
        return f"p99 at most {self.p99:g} ms, errors at most {self.errors:.3%}"


class Search:
    """Doubles the rate until the promise is broken, then halves the interval.

    A rate that breaks the promise is measured again before it counts: one hiccup of a machine would end the search far
    below the limit.

    Attributes:
        rate: the next rate to measure, in calls a second.
        best: the highest that kept the promise; None: none yet.
        done: whether there is nothing more to measure.
    """

    def __init__(self, start: float) -> None:
        self.rate = start
        self.best: float | None = None
        self.done = False
        self._broken: float | None = None
        self._again = False

    def tell(self, *, kept: bool) -> None:
        """Take the outcome at `rate`, and choose the next one."""
        if not kept and not self._again:
            self._again = True
            return
        self._again = False
        if kept:
            self.best = self.rate
        else:
            self._broken = self.rate
        if self._broken is None:
            self.rate *= 2
        elif self.best is None:
            self.rate /= 2
            self.done = self.rate < _LEAST_RATE
        else:
            self.done = self._broken / self.best <= _PRECISION
            self.rate = math.sqrt(self._broken * self.best)
