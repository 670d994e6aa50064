"""An observer of a scheduler that keeps what it is told."""

from collections import Counter

from bertwire_server.model.observer import Ran, Reason, Unobserved


class Observer(Unobserved):
    """Counts what it is told."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self.runs: list[Ran] = []

    def ran(self, batch: Ran) -> None:
        """Keeps the batch."""
        self.runs.append(batch)

    def turned_away(self, reason: Reason, texts: int) -> None:
        """Counts by reason."""
        self.counts[reason] += texts

    def expired(self, texts: int) -> None:
        """Counts."""
        self.counts["expired"] += texts

    def cancelled(self, texts: int) -> None:
        """Counts."""
        self.counts["cancelled"] += texts
