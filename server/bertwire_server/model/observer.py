"""Interface for metrics of a model's work."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

# queue_full: the queue has no room. deadline: the answer would be late.
Reason = Literal["queue_full", "deadline"]


@dataclass(frozen=True, slots=True)
class Ran:
    """A batch that was run.

    Attributes:
        lengths: tokens per text.
        computed: computed tokens, padding included.
        queue_seconds: per text the time from arrival in the queue to the start of the run.
        run_seconds: duration of the run.
    """

    lengths: Sequence[int]
    computed: int
    queue_seconds: Sequence[float]
    run_seconds: float


class Observer(Protocol):
    """Notified of everything that happens to texts; methods must take only microseconds and not raise."""

    def ran(self, batch: Ran) -> None:
        """Record a batch run, successful or not."""

    def turned_away(self, reason: Reason, texts: int) -> None:
        """Record texts refused for overload."""

    def expired(self, texts: int) -> None:
        """Record texts dropped from the queue after their deadline."""

    def cancelled(self, texts: int) -> None:
        """Record texts dropped from the queue after their caller cancelled."""

    def tokenized(self, texts: int, seconds: float) -> None:
        """Record the tokenizing of a call's texts."""

    def cached(self, hits: int, misses: int) -> None:
        """Record a call's cache lookups."""

    def predicted(self, label: str, confidence: float) -> None:
        """Record a predicted label or entity with its score."""

    def matched(self, rule: str) -> None:
        """Record a rule that matched a text."""

    def abstained(self) -> None:
        """Record a text that looks like none of the labels."""


class Unobserved:
    """An observer that records nothing."""

    def ran(self, batch: Ran) -> None: ...  # noqa: D102

    def turned_away(self, reason: Reason, texts: int) -> None: ...  # noqa: D102

    def expired(self, texts: int) -> None: ...  # noqa: D102

    def cancelled(self, texts: int) -> None: ...  # noqa: D102

    def tokenized(self, texts: int, seconds: float) -> None: ...  # noqa: D102

    def cached(self, hits: int, misses: int) -> None: ...  # noqa: D102

    def predicted(self, label: str, confidence: float) -> None: ...  # noqa: D102

    def matched(self, rule: str) -> None: ...  # noqa: D102

    def abstained(self) -> None: ...  # noqa: D102
