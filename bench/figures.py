"""Statistics of calls; no call is left out."""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

import grpc
import numpy as np
from numpy.typing import NDArray

Figures = dict[str, float]
Times = NDArray[np.float64]

OK = grpc.StatusCode.OK
REFUSED = grpc.StatusCode.RESOURCE_EXHAUSTED
MISSED = grpc.StatusCode.DEADLINE_EXCEEDED


@dataclass(frozen=True)
class Ended:
    """Calls that have ended, in the order of their ends.

    Attributes:
        begun: when each was made, seconds of the client's clock, float64 [calls].
        ended: when its outcome was there, likewise.
        codes: gRPC's number of its status, int64 [calls].
    """

    begun: Times
    ended: Times
    codes: NDArray[np.int64]

    @property
    def seconds(self) -> Times:
        """Return the duration of each in seconds, float64 [calls]."""
        return self.ended - self.begun

    def of(self, code: grpc.StatusCode) -> "Ended":
        """Return those with this status."""
        return self._where(self.codes == code.value[0])

    def between(self, first: float, last: float) -> "Ended":
        """Return those that ended from `first` until before `last`."""
        return self._where((self.ended >= first) & (self.ended < last))

    def begun_between(self, first: float, last: float) -> "Ended":
        """Return those that were made from `first` until before `last`."""
        return self._where((self.begun >= first) & (self.begun < last))

    def rate(self, first: float, last: float) -> float:
        """Return the answers a second in that window."""
        return len(self.of(OK).between(first, last)) / (last - first)

    def __len__(self) -> int:
        return len(self.begun)

    def _where(self, chosen: NDArray[np.bool_]) -> "Ended":
        return Ended(self.begun[chosen], self.ended[chosen], self.codes[chosen])


def percentiles(seconds: Times, prefix: str = "") -> Figures:
    """Return p50, p95, p99 and the largest in milliseconds; nothing where there are no calls."""
    if not len(seconds):
        return {}
    names, shares = ("p50", "p95", "p99", "max"), (50, 95, 99, 100)
    values = np.percentile(seconds * 1e3, shares).tolist()
    return {f"{prefix}{name}_ms": value for name, value in zip(names, values, strict=True)}


def over_rounds(rounds: Sequence[Figures]) -> Figures:
    """Return the median round of each figure that every round has."""
    return {key: median(each[key] for each in rounds) for key in rounds[0] if all(key in each for each in rounds)}


def median_ratio(above: Sequence[float], below: Sequence[float]) -> float:
    """Return the median of the rounds' own ratios: what slows one round slows both of its sides."""
    return median(one / other for one, other in zip(above, below, strict=True))


def median_difference(first: Sequence[float], second: Sequence[float]) -> float:
    """Return the median of the rounds' own differences, first minus second."""
    return median(one - other for one, other in zip(first, second, strict=True))


def overlap(calls: Ended, stalls: Sequence[tuple[float, float]]) -> Times:
    """Return for how long of each call the client itself stood still, seconds, float64 [calls].

    Args:
        calls: the calls.
        stalls: when the client stood still, from and until, one after the other.
    """
    if not stalls:
        return np.zeros(len(calls))
    starts, ends = np.array(stalls).T
    # Time stood still up to a moment: whole stalls before it, and the part of the one under way.
    whole = np.concatenate([[0.0], np.cumsum(ends - starts)])

    def until(moments: Times) -> Times:
        begun = np.searchsorted(starts, moments, side="right")
        under_way = np.where(begun > 0, np.maximum(ends[begun - 1] - moments, 0.0), 0.0)
        return np.asarray(whole[begun] - under_way)

    return until(calls.ended) - until(calls.begun)
