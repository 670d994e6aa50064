"""What is counted while a job runs, and the summary made of it."""

import math
import time
from collections import Counter
from dataclasses import dataclass

from bertwire_client.replies import Reply

# Neighbouring buckets of latency lie 1 % apart, so that a job of any size keeps some hundred numbers.
_STEP = math.log(1.01)


@dataclass(frozen=True, slots=True)
class Summary:
    """What a scoring job did.

    Attributes:
        rows: rows of the input, all of them in the output.
        failed: rows without a prediction.
        first_error: why the first of them has none; None where every row has one.
        seconds: wall-clock time of the job.
        texts_per_second: predictions for each second of it.
        calls: calls that were answered.
        latency_p50_ms, latency_p95_ms, latency_p99_ms: percentiles of an answered call's time as the client saw it, in
            milliseconds, within 1 %; None where no call was answered.
        model: name of the model that answered; empty where none did.
        model_version: its version; where it changed in between, all versions, joined by ", ".
    """

    rows: int
    failed: int
    first_error: str | None
    seconds: float
    texts_per_second: float
    calls: int
    latency_p50_ms: float | None
    latency_p95_ms: float | None
    latency_p99_ms: float | None
    model: str
    model_version: str


class Latencies:
    """A histogram of times with fixed memory."""

    def __init__(self) -> None:
        self.count = 0
        self._buckets: Counter[int] = Counter()

    def add(self, seconds: float) -> None:
        """Counts one call."""
        self.count += 1
        self._buckets[round(math.log(max(seconds, 1e-9)) / _STEP)] += 1

    def percentile_ms(self, percent: float) -> float | None:
        """The time in milliseconds that `percent` of the calls did not exceed."""
        left = math.ceil(self.count * percent / 100)
        for bucket in sorted(self._buckets):
            left -= self._buckets[bucket]
            if left <= 0:
                return round(math.exp(bucket * _STEP) * 1000, 3)
        return None


class Tally:
    """The running counts of one job."""

    def __init__(self) -> None:
        self.rows = self.failed = 0
        self.first_error: str | None = None
        self.latencies = Latencies()
        self._started = time.perf_counter()
        self._models: dict[tuple[str, str], None] = {}

    def answered(self, reply: Reply, seconds: float) -> None:
        """Counts an answered call."""
        self.latencies.add(seconds)
        self._models[reply.model, reply.model_version] = None

    def written(self, errors: list[str | None]) -> None:
        """Counts rows written, each with why it has no prediction, or None."""
        self.rows += len(errors)
        failed = [error for error in errors if error is not None]
        self.failed += len(failed)
        if failed and self.first_error is None:
            self.first_error = failed[0]

    def note(self) -> str:
        """What stands beside the progress bar."""
        failures = f", {self.failed:,} failed" if self.failed else ""
        return f"{self.rows / self._seconds():,.0f} rows/s{failures}"

    def summary(self) -> Summary:
        """The counts so far."""
        return Summary(
            rows=self.rows,
            failed=self.failed,
            first_error=self.first_error,
            seconds=round(self._seconds(), 3),
            texts_per_second=round((self.rows - self.failed) / self._seconds(), 1),
            calls=self.latencies.count,
            latency_p50_ms=self.latencies.percentile_ms(50),
            latency_p95_ms=self.latencies.percentile_ms(95),
            latency_p99_ms=self.latencies.percentile_ms(99),
            model=", ".join(dict.fromkeys(name for name, _ in self._models)),
            model_version=", ".join(dict.fromkeys(version for _, version in self._models)),
        )

    def _seconds(self) -> float:
        return max(time.perf_counter() - self._started, 1e-9)
