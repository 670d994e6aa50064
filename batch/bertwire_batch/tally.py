"""Counters and summary of a scoring job."""

import math
import time
from collections import Counter
from dataclasses import dataclass

from bertwire_client.replies import ModelInfo

# Log width of a latency bucket: 1 %, which bounds memory to some hundred buckets.
_STEP = math.log(1.01)


@dataclass(frozen=True, slots=True)
class Summary:
    """Summary of a scoring job.

    Attributes:
        rows: rows of input and output.
        failed: rows without a prediction.
        first_error: the first such row's error; None where every row has a prediction.
        texts: texts that were answered now: without those that occur again, and of a job that was stopped without those
            answered before.
        seconds: wall-clock time of the job.
        texts_per_second: answered texts per second.
        latency_p50_ms, latency_p95_ms, latency_p99_ms: percentiles of an answered call's client-side latency in
            milliseconds, within 1 %; None where no call was answered.
        model: name of the model.
        model_version: its version.
    """

    rows: int
    failed: int
    first_error: str | None
    texts: int
    seconds: float
    texts_per_second: float
    calls: int
    latency_p50_ms: float | None
    latency_p95_ms: float | None
    latency_p99_ms: float | None
    model: str
    model_version: str


class Latencies:
    """A latency histogram in bounded memory."""

    def __init__(self) -> None:
        self.count = 0
        self._buckets: Counter[int] = Counter()

    def add(self, seconds: float) -> None:
        """Count one call."""
        self.count += 1
        self._buckets[round(math.log(max(seconds, 1e-9)) / _STEP)] += 1

    def percentile_ms(self, percent: float) -> float | None:
        """Return the latency in milliseconds that `percent` of the calls did not exceed."""
        left = math.ceil(self.count * percent / 100)
        for bucket in sorted(self._buckets):
            left -= self._buckets[bucket]
            if left <= 0:
                return round(math.exp(bucket * _STEP) * 1000, 3)
        return None


class Tally:
    """Running counters of a job."""

    def __init__(self) -> None:
        self.rows = self.failed = self.texts = 0
        self.first_error: str | None = None
        self.latencies = Latencies()
        self._started = self._asked = time.perf_counter()

    def answered(self, texts: int, seconds: float) -> None:
        """Count an answered call of so many texts."""
        if not self.texts:
            self._asked = time.perf_counter() - seconds
        self.latencies.add(seconds)
        self.texts += texts

    def written(self, errors: list[str | None]) -> None:
        """Count written rows, each with its error or None."""
        self.rows += len(errors)
        failed = [error for error in errors if error is not None]
        self.failed += len(failed)
        if failed and self.first_error is None:
            self.first_error = failed[0]

    def note(self) -> str:
        """Return the note beside the progress bar."""
        return f"{self.texts / max(time.perf_counter() - self._asked, 1e-9):,.0f} texts/s"

    def summary(self, model: ModelInfo) -> Summary:
        """Return the counts so far."""
        return Summary(
            rows=self.rows,
            failed=self.failed,
            first_error=self.first_error,
            texts=self.texts,
            seconds=round(self._seconds(), 3),
            texts_per_second=round(self.texts / self._seconds(), 1),
            calls=self.latencies.count,
            latency_p50_ms=self.latencies.percentile_ms(50),
            latency_p95_ms=self.latencies.percentile_ms(95),
            latency_p99_ms=self.latencies.percentile_ms(99),
            model=model.name,
            model_version=model.version,
        )

    def _seconds(self) -> float:
        return max(time.perf_counter() - self._started, 1e-9)
