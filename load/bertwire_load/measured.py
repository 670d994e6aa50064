"""Figures of one load at one server, over all processes and turns."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from bertwire_load.histogram import Histogram
from bertwire_load.tally import Part
from bertwire_load.worker import Load

# Share of the latency's p99 above which the p99 of the client's own delay says that the client was slow; and
# CPU-seconds a second of a process from which on it has no time left.
_DELAY_SHARE, _BUSY = 0.1, 0.9
# Milliseconds of delay that are no sign of it; with half of them an idle client's wake-ups are.
_DELAY_LEAST = 2.0


@dataclass(frozen=True, slots=True)
class Moment:
    """A stretch of time: where it begins in seconds, calls a second, and latencies in milliseconds."""

    at: float
    answered: float
    failed: float
    p50: float | None
    p99: float | None


class Measured:
    """What was measured of one load at one server.

    Attributes:
        server: the server's address.
        load: the load.
        seconds: of all turns together.
        latency: of answered calls, from when they were due.
        delay: of the client, from when calls were due to when they were sent.
        failed: failed calls by the name of their status code.
        turns: p99 of the latency in milliseconds, of each turn; None where no call was answered.
    """

    def __init__(self, server: str, load: Load) -> None:
        self.server, self.load = server, load
        self.seconds = 0.0
        self.latency, self.delay = Histogram(), Histogram()
        self.failed: Counter[str] = Counter()
        self.unsent = self.unfinished = self.answered = self.answered_texts = 0
        self.cpu = 0.0
        self.groups: dict[str, Histogram] = {}
        self.moments: list[Moment] = []
        self.turns: list[float | None] = []

    def add(self, parts: Sequence[Part]) -> None:
        """Add one turn, a part of each process."""
        turn = Histogram()
        for part in parts:
            turn.add(part.latency)
            self.delay.add(part.delay)
            self.failed += part.failed
            self.unsent += part.unsent
            self.unfinished += part.unfinished
            self.answered += part.answered
            self.answered_texts += part.answered_texts
            self.cpu = max(self.cpu, part.cpu)
            for kind, latency in part.groups.items():
                self.groups.setdefault(kind, Histogram()).add(latency)
        self.latency.add(turn.encode())
        self.turns.append(turn.percentile(99))
        self.moments += [*_moments(parts, self.seconds)]
        self.seconds += max(part.seconds for part in parts)

    @property
    def calls(self) -> int:
        """Return the calls that were due and have an outcome, not being sent included."""
        return self.latency.count + self.failed.total() + self.unsent

    @property
    def error_share(self) -> float:
        """Return the share of calls that were not answered."""
        return 1 - self.latency.count / self.calls if self.calls else 0.0

    @property
    def client_limit(self) -> str | None:
        """Return how far the client itself was the limit; None where it was not."""
        delay, latency = self.delay.percentile(99), self.latency.percentile(99)
        if self.unsent:
            return f"{self.unsent:,} calls were due and not sent"
        if delay is not None and latency is not None and delay > max(_DELAY_SHARE * latency, _DELAY_LEAST):
            return f"1% of the calls were sent {delay:.3g} ms late or more, of a p99 of {latency:.3g} ms"
        return f"a client process took {self.cpu:.0%} of a core" if self.cpu > _BUSY else None

    @cached_property
    def figures(self) -> dict[str, Any]:
        """Everything for JSON; ask for it once all turns are added."""
        per_second = 1 / self.seconds if self.seconds else 0.0
        return {
            "server": self.server,
            "rate": self.load.rate,
            "concurrency": self.load.concurrency,
            "seconds": self.seconds,
            "calls": self.calls,
            "answered_per_second": self.answered * per_second,
            "texts_per_second": self.answered_texts * per_second,
            "error_share": self.error_share,
            "failed": dict(self.failed),
            "unsent": self.unsent,
            "unfinished": self.unfinished,
            "latency_ms": self.latency.summary(),
            "dispatch_delay_ms": self.delay.summary(),
            "latency_ms_by_group": {kind: each.summary() for kind, each in sorted(self.groups.items())},
            "p99_ms_of_turns": self.turns,
            "client_cpu": self.cpu,
            "client_limit": self.client_limit,
            "timeline": [
                {"second": each.at, "answered_per_second": each.answered, "failed_per_second": each.failed}
                | {"p50_ms": each.p50, "p99_ms": each.p99}
                for each in self.moments
            ],
            "hdr_histogram_us": self.latency.encode(),
        }


def _moments(parts: Sequence[Part], after: float) -> list[Moment]:
    found = []
    for place, stretches in enumerate(zip(*(part.bins for part in parts), strict=True)):
        at = place * parts[0].bin_seconds
        # The last stretch may be shorter, and those after an interruption have no calls.
        seconds = min(parts[0].bin_seconds, max(part.seconds for part in parts) - at)
        if seconds <= 0:
            break
        latency = Histogram()
        for encoded, _ in stretches:
            latency.add(encoded)
        failed = sum(count for _, count in stretches)
        p50, p99 = latency.percentile(50), latency.percentile(99)
        found.append(Moment(after + at, latency.count / seconds, failed / seconds, p50, p99))
    return found
