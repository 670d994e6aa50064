"""HdrHistogram of times, see http://hdrhistogram.org."""

import math

from hdrh.histogram import HdrHistogram

from bertwire_load.config import LONGEST

# The shares that are shown, in percent.
PERCENTILES = (50.0, 90.0, 95.0, 99.0, 99.9)
# Significant digits of a time; with half as many a p99 of 50 ms is known to 1 ms only.
_DIGITS = 3


class Histogram:
    """Counts of times from a microsecond to an hour; longer ones count as an hour."""

    def __init__(self, digits: int = _DIGITS) -> None:
        self._values = HdrHistogram(1, int(LONGEST * 1e6), digits)

    def record(self, seconds: float) -> None:
        """Count one time."""
        self._values.record_value(min(max(math.ceil(seconds * 1e6), 1), int(LONGEST * 1e6)))

    def add(self, encoded: str) -> None:
        """Add the counts of an encoded histogram."""
        self._values.decode_and_add(encoded)

    def encode(self) -> str:
        """Return the counts, in microseconds, in HdrHistogram's compressed form V2 as base64, which its tools read."""
        return str(self._values.encode(), "ascii")

    @property
    def count(self) -> int:
        """Return how many times were counted."""
        return int(self._values.get_total_count())

    def percentile(self, share: float) -> float | None:
        """Return the time in milliseconds that `share` percent do not exceed; None where there are no times."""
        if not self.count:
            return None
        # The nearest rank from above; HdrHistogram takes the nearest one, which more calls may exceed.
        rank = math.ceil(self.count * share / 100)
        return float(self._values.get_value_at_percentile(100 * (rank - 0.25) / self.count) / 1e3)

    def summary(self) -> dict[str, float]:
        """Return the mean, the percentiles and the greatest time in milliseconds; nothing where there are no times."""
        if not self.count:
            return {}
        shares = {f"p{share:g}": self.percentile(share) or 0.0 for share in PERCENTILES}
        return {"mean": self._values.get_mean_value() / 1e3} | shares | {"max": self._values.get_max_value() / 1e3}
