"""The outcomes of one process's calls in one measurement."""

import math
from collections import Counter
from dataclasses import dataclass, field

from bertwire_load.histogram import Histogram
from bertwire_load.requests import Request

# Most points of a line over time. With half as many an hour has one a minute; with many more the page takes megabytes.
_MOST_BINS = 120
# Significant digits of times in a bin: enough to draw them.
_BIN_DIGITS = 2


@dataclass(frozen=True)
class Part:
    """What one process hands over, its histograms encoded.

    Attributes:
        seconds: how long the measurement was, which is less than asked for where it was interrupted.
        latency: of answered calls, from when they were due.
        delay: of all calls, from when they were due to when they were sent.
        failed: failed calls by the name of their status code.
        unsent: calls that were due but not sent, since the client was too far behind.
        unfinished: calls without an outcome at an interruption.
        answered: answers that came within the measurement, whenever their call was due.
        answered_texts: texts of these.
        groups: latency of answered calls by kind, empty where none was, where calls are of several sizes or priorities.
        bins: of each stretch of time of `bin_seconds`, the latency of the answered calls that were due then, and how
            many calls failed.
        cpu: CPU-seconds a second of this process.
    """

    seconds: float
    latency: str
    delay: str
    failed: Counter[str]
    unsent: int
    unfinished: int
    answered: int
    answered_texts: int
    groups: dict[str, str]
    bin_seconds: float
    bins: list[tuple[str, int]]
    cpu: float


@dataclass
class _Bin:
    latency: Histogram = field(default_factory=lambda: Histogram(_BIN_DIGITS))
    failed: int = 0


class Tally:
    """Counts calls that are due from `begin` on for `seconds`; what is due before, in the warm-up, is left out."""

    def __init__(self, begin: float, seconds: float, *, by_size: bool, by_priority: bool) -> None:
        self.begin, self.end = begin, begin + seconds
        self.unsent = 0
        self._by_size, self._by_priority = by_size, by_priority
        self._latency, self._delay = Histogram(), Histogram()
        self._failed: Counter[str] = Counter()
        self._sent = self._answered = self._answered_texts = 0
        self._groups: dict[str, Histogram] = {}
        self._bin_seconds = max(1.0, seconds / _MOST_BINS)
        self._bins = [_Bin() for _ in range(math.ceil(seconds / self._bin_seconds))]

    def sent(self, due: float, now: float) -> None:
        """Count a call that is sent now."""
        if self.begin <= due < self.end:
            self._sent += 1
            self._delay.record(now - due)

    def ended(self, due: float, now: float, request: Request, code: str | None) -> None:
        """Count a call that ends now, with the name of a status code where it failed."""
        if code is None and self.begin <= now < self.end:
            self._answered += 1
            self._answered_texts += len(request.texts)
        if not self.begin <= due < self.end:
            return
        place = self._bins[min(int((due - self.begin) / self._bin_seconds), len(self._bins) - 1)]
        if code is not None:
            self._failed[code] += 1
            place.failed += 1
        # Of a kind that always fails there is a group as well, an empty one.
        groups = [*map(self._group, self._kinds(request))]
        if code is not None:
            return
        for each in (self._latency, place.latency, *groups):
            each.record(now - due)

    def _kinds(self, request: Request) -> list[str]:
        size = [f"size {len(request.texts)}"] if self._by_size else []
        return size + ([f"priority {request.priority}"] if self._by_priority else [])

    def _group(self, kind: str) -> Histogram:
        return self._groups.setdefault(kind, Histogram())

    @property
    def counts(self) -> tuple[int, int]:
        """Return how many counted calls were answered and how many failed so far."""
        return self._latency.count, self._failed.total()

    def part(self, now: float, cpu: float) -> Part:
        """Return all of it.

        Args:
            now: when the measurement was over or was interrupted.
            cpu: CPU-seconds a second of this process.
        """
        return Part(
            seconds=max(min(now, self.end) - self.begin, 0.0),
            latency=self._latency.encode(),
            delay=self._delay.encode(),
            failed=self._failed,
            unsent=self.unsent,
            unfinished=self._sent - sum(self.counts),
            answered=self._answered,
            answered_texts=self._answered_texts,
            groups={kind: each.encode() for kind, each in self._groups.items()},
            bin_seconds=self._bin_seconds,
            bins=[(each.latency.encode(), each.failed) for each in self._bins],
            cpu=cpu,
        )
