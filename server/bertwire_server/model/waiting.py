"""Calls that wait for their results, and batches of their texts."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from bertwire_runtime.tokenizer import Encoded
from bertwire_server.query import Priority

# Seconds after arrival that stand in for a missing or later deadline. Halved, more calls with late deadlines run in
# arrival order; without it they would starve behind those with early ones.
_ORDER_SECONDS = 10.0
# Most texts of a small call. Halved, calls of five texts wait behind a call of a thousand.
_FEW_TEXTS = 8


@dataclass(frozen=True, slots=True)
class Result:
    """The result of one text.

    Attributes:
        logits: float32 [labels], or [tokens, labels].
        queue_seconds: time from arrival to the start of the run.
        run_seconds: run time of its batch.
    """

    logits: NDArray[np.float32]
    queue_seconds: float
    run_seconds: float


@dataclass(slots=True, eq=False)
class Waiting:
    """A queued call; its future gets all results, or the first error.

    Attributes:
        deadline: on the clock of `perf_counter`; infinite for none.
        future: the results, in order.
        places: index in the caller's message of each text, by which a failure is told; empty: they are that message's.
        taken: number of texts, from the first, that have left the queue.
        results: results so far, by text.
    """

    texts: Sequence[Encoded]
    priority: Priority
    deadline: float
    arrived: float
    future: asyncio.Future[list[Result]]
    places: Sequence[int] = ()
    taken: int = 0
    results: dict[int, Result] = field(default_factory=dict)

    @property
    def large(self) -> bool:
        """Whether it is in the lane of large calls."""
        return is_large(len(self.texts))

    @property
    def due(self) -> float:
        """Return its position in the order, see `order_by`."""
        return order_by(self.deadline, self.arrived)

    def told_as(self, place: int) -> int:
        """Return the index in the caller's message of the text at `place`."""
        return self.places[place] if self.places else place

    def settle(self, place: int, result: Result) -> None:
        """Store a text's result; the last one completes the call."""
        self.results[place] = result
        if len(self.results) == len(self.texts) and not self.future.done():
            self.future.set_result([self.results[each] for each in range(len(self.texts))])

    def fail(self, error: Exception) -> None:
        """Fail the call unless it is complete."""
        if not self.future.done():
            self.future.set_exception(error)


@dataclass(slots=True)
class Batch:
    """Texts that run together.

    Attributes:
        members: each text's call and its index in it.
        longest: tokens of the longest text.
        tokens: tokens of all texts.
        expired: calls removed because they would miss their deadline, each with the number of texts removed.
    """

    members: list[tuple[Waiting, int]] = field(default_factory=list)
    longest: int = 0
    tokens: int = 0
    expired: list[tuple[Waiting, int]] = field(default_factory=list)

    @property
    def texts(self) -> list[Encoded]:
        """Return the texts."""
        return [call.texts[place] for call, place in self.members]

    def add(self, call: Waiting, place: int) -> None:
        """Add a text."""
        length = len(call.texts[place].ids)
        self.members.append((call, place))
        self.longest, self.tokens = max(self.longest, length), self.tokens + length


def is_large(texts: int) -> bool:
    """Whether a call of so many texts is in the lane of large calls."""
    return texts > _FEW_TEXTS


def order_by(deadline: float, arrived: float) -> float:
    """Return a call's position in the order: its deadline, at most _ORDER_SECONDS after its arrival."""
    return min(deadline, arrived + _ORDER_SECONDS)
