"""What a model tells whoever counts: the scheduler and the model know this, and nothing of metrics."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

# Why a text is refused on arrival: no room for it, or its deadline would pass before its turn.
Reason = Literal["queue_full", "deadline"]


@dataclass(frozen=True, slots=True)
class Ran:
    """A batch that has run.

    Attributes:
        lengths: tokens of each text.
        computed: tokens that the layout computed for them, padding included; at least the sum of the lengths.
        queue_seconds: each text's wait from arrival to the start of the run.
        run_seconds: the run.
    """

    lengths: Sequence[int]
    computed: int
    queue_seconds: Sequence[float]
    run_seconds: float


class Observer(Protocol):
    """Is told what becomes of the texts of one model, on the event loop that the model belongs to."""

    def ran(self, batch: Ran) -> None:
        """A batch has run, well or not."""

    def turned_away(self, reason: Reason, texts: int) -> None:
        """Texts were refused on arrival."""

    def expired(self, texts: int) -> None:
        """The deadline of texts passed while they waited; they were not computed."""

    def cancelled(self, texts: int) -> None:
        """The callers of texts that waited have gone; they were not computed."""

    def tokenized(self, texts: int, seconds: float) -> None:
        """The texts of one call were tokenized."""

    def predicted(self, label: str, confidence: float) -> None:
        """A label was given, with this score (0 to 1)."""


class Watched(Protocol):
    """What is read from a model's scheduler when somebody looks, from any thread."""

    @property
    def waiting(self) -> int:
        """Texts in the queue."""

    @property
    def busy_seconds(self) -> float:
        """Time that the engine has run so far, the run under way included; never goes back."""

    @property
    def healthy(self) -> bool:
        """Whether texts that come in now are answered."""
