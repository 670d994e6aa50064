"""What is counted while requests wait for it.

Numbers of our own, turned into Prometheus' when it asks: its library's take a lock and find a bucket by trying all, for
1 us and more an observation. Each instrument is written by one thread and may be read by any.
"""

from bisect import bisect_left
from collections.abc import Iterable, Sequence

from prometheus_client.metrics_core import HistogramMetricFamily


class Histogram:
    """Counts of values by bucket.

    Attributes:
        bounds: the buckets' upper bounds, which belong to them, ascending; one more bucket holds what is above.
    """

    __slots__ = ("_counts", "_sum", "bounds")

    def __init__(self, bounds: Sequence[float]) -> None:
        self.bounds = tuple(bounds)
        self._counts = [0] * (len(self.bounds) + 1)
        self._sum = 0.0

    def observe(self, value: float) -> None:
        """Counts one value."""
        self._counts[bisect_left(self.bounds, value)] += 1
        self._sum += value

    def observe_all(self, values: Iterable[float]) -> None:
        """Counts values; a third cheaper than one by one."""
        bounds, counts, total = self.bounds, self._counts, 0.0
        for value in values:
            counts[bisect_left(bounds, value)] += 1
            total += value
        self._sum += total

    def add_to(self, family: HistogramMetricFamily, labels: Sequence[str]) -> None:
        """Adds what was counted so far to a family that Prometheus is shown."""
        counts, total = self._counts.copy(), self._sum  # the copy is one step, so that the buckets fit each other
        buckets, below = [], 0
        for bound, count in zip((*map(_shown, self.bounds), "+Inf"), counts, strict=True):
            below += count
            buckets.append((bound, float(below)))
        family.add_metric(labels, buckets, total)


def _shown(bound: float) -> str:
    return repr(float(bound))
