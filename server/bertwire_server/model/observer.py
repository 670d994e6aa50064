"""What a model tells of its work to whoever measures it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

# queue_full: no room for more texts. deadline: the answer could not be ready in time.
Reason = Literal["queue_full", "deadline"]


@dataclass(frozen=True, slots=True)
class Ran:
    """A batch that was run.

    Attributes:
        lengths: tokens of each of its texts.
        computed: tokens computed, padding included.
        queue_seconds: wait of each text, from its arrival in the queue to the start of the run.
        run_seconds: the run.
    """

    lengths: Sequence[int]
    computed: int
    queue_seconds: Sequence[float]
    run_seconds: float


class Observer(Protocol):
    """Told of everything that becomes of texts; each method takes microseconds and raises nothing."""

    def ran(self, batch: Ran) -> None:
        """A batch was run, whether or not it succeeded."""

    def turned_away(self, reason: Reason, texts: int) -> None:
        """Texts were refused for overload."""

    def expired(self, texts: int) -> None:
        """Texts were dropped from the queue, never computed, since their deadline had passed."""

    def cancelled(self, texts: int) -> None:
        """Texts were dropped from the queue, never computed, since their caller had gone."""

    def tokenized(self, texts: int, seconds: float) -> None:
        """A call's texts were tokenized."""

    def cached(self, hits: int, misses: int) -> None:
        """Texts of a call were looked for among kept answers."""

    def predicted(self, label: str, confidence: float) -> None:
        """A text was given a label as its best, with a score."""


class Unobserved:
    """Observes nothing."""

    def ran(self, batch: Ran) -> None: ...  # noqa: D102

    def turned_away(self, reason: Reason, texts: int) -> None: ...  # noqa: D102

    def expired(self, texts: int) -> None: ...  # noqa: D102

    def cancelled(self, texts: int) -> None: ...  # noqa: D102

    def tokenized(self, texts: int, seconds: float) -> None: ...  # noqa: D102

    def cached(self, hits: int, misses: int) -> None: ...  # noqa: D102

    def predicted(self, label: str, confidence: float) -> None: ...  # noqa: D102
