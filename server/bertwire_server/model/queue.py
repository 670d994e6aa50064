"""The queue of a model, and the selection of batches from it.

Calls are ordered by priority, then by deadline. Small and large calls have separate lanes: while small calls wait,
large ones get a quarter of a batch's tokens, and whatever is left over.
"""

import asyncio
from bisect import bisect_left, insort
from collections.abc import Sequence
from dataclasses import dataclass, field
from math import inf
from threading import Condition
from time import perf_counter

import numpy as np
from numpy.typing import NDArray

from bertwire_runtime.layouts import Layout
from bertwire_runtime.tokenizer import Encoded
from bertwire_server.model.pace import Pace
from bertwire_server.query import Priority

# Seconds after arrival that stand in for a missing or later deadline. Halved, more calls with late deadlines run in
# arrival order; without it they would starve behind those with early ones.
_ORDER_SECONDS = 10.0
# Most texts of a small call. Halved, calls of five texts wait behind a call of a thousand.
_FEW_TEXTS = 8
# Share of a batch's tokens for large calls while small ones wait. Halved, a call of a thousand texts takes twice as
# long under load; doubled, half of each batch delays single texts.
_LARGE_SHARE = 0.25


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
        taken: number of texts, from the first, that have left the queue.
        results: results so far, by text.
    """

    texts: Sequence[Encoded]
    priority: Priority
    deadline: float
    arrived: float
    future: asyncio.Future[list[Result]]
    taken: int = 0
    results: dict[int, Result] = field(default_factory=dict)

    @property
    def large(self) -> bool:
        """Whether it is in the lane of large calls."""
        return len(self.texts) > _FEW_TEXTS

    @property
    def due(self) -> float:
        """Return its position in the order, see `order_by`."""
        return order_by(self.deadline, self.arrived)

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


class _Lane:
    """Queued calls of one priority and size, in order."""

    def __init__(self) -> None:
        self.entries: list[tuple[float, int, Waiting]] = []
        self.texts = self.tokens = 0

    def tokens_before(self, due: float) -> float:
        """Estimate the tokens of the calls before `due`, as if all calls were equal."""
        count = len(self.entries)
        return self.tokens * bisect_left(self.entries, (due, inf)) / count if count else 0.0

    def add(self, call: Waiting, number: int) -> None:
        insort(self.entries, (call.due, number, call))
        self.texts += len(call.texts)
        self.tokens += sum(len(text.ids) for text in call.texts)

    def count_out(self, texts: Sequence[Encoded]) -> None:
        self.texts -= len(texts)
        self.tokens -= sum(len(text.ids) for text in texts)


class Queue:
    """The queued texts of a model. Thread-safe."""

    def __init__(self, layout: Layout, pace: Pace, most_texts: int) -> None:
        """Create an empty queue.

        Args:
            layout: determines the computed tokens of a batch.
            pace: limits them.
            most_texts: most texts of a batch.
        """
        self._layout, self._pace, self._most_texts = layout, pace, most_texts
        self._lanes = {priority: (_Lane(), _Lane()) for priority in Priority}  # small and large calls
        self._numbers: dict[Waiting, int] = {}
        self._count = 0
        self._changed = Condition()
        self._closed = False

    def __len__(self) -> int:
        """Return the number of queued texts."""
        return sum(lane.texts for lanes in self._lanes.values() for lane in lanes)

    def add(self, call: Waiting) -> None:
        """Add a call."""
        with self._changed:
            self._count += 1  # equal deadlines keep their order of arrival
            self._numbers[call] = self._count
            self._lane(call).add(call, self._count)
            self._changed.notify()

    def remove(self, call: Waiting) -> int:
        """Remove a call's remaining texts and return their number."""
        with self._changed:
            return self._remove(call)

    def close(self) -> list[Waiting]:
        """End `take` and return the queued calls."""
        with self._changed:
            self._closed = True
            self._changed.notify()
            return list(self._numbers)

    def tokens_before(self, texts: int, priority: Priority, due: float) -> float:
        """Estimate the tokens that run before the last text of a call that arrives now."""
        with self._changed:
            before = 0.0
            for each, (few, many) in self._lanes.items():
                if each < priority:
                    before += few.tokens + many.tokens
                elif each == priority and texts > _FEW_TEXTS:
                    before += few.tokens_before(due) + many.tokens_before(due)
                elif each == priority:
                    before += few.tokens_before(due) / (1 - _LARGE_SHARE if many.texts else 1)
            return before

    def take(self) -> Batch | None:
        """Wait for a queued call and return the next batch; None once closed.

        The batch is empty where all queued calls were expired.
        """
        with self._changed:
            while not self._closed and not self._numbers:
                self._changed.wait()
            if self._closed:
                return None
            batch, now = Batch(), perf_counter()
            for few, many in self._lanes.values():
                if many.texts:
                    self._fill(batch, many, now, _LARGE_SHARE if few.texts else 1.0)
                self._fill(batch, few, now)
                self._fill(batch, many, now)
            return batch

    def _fill(self, batch: Batch, lane: _Lane, now: float, share: float = 1.0) -> None:
        """Move texts of a lane into the batch, in order, up to `share` of its limits."""
        tokens, texts = share * self._pace.batch_tokens, share * self._most_texts
        while lane.entries:
            call = lane.entries[0][2]
            while call.taken < len(call.texts):
                text = call.texts[call.taken]
                if self._is_late(call, text, now):
                    batch.expired.append((call, self._remove(call)))
                    break
                if batch.members and not self._fits(batch, text, tokens, texts):
                    return
                batch.add(call, call.taken)
                call.taken += 1
                lane.count_out((text,))
            else:
                self._remove(call)

    def _is_late(self, call: Waiting, text: Encoded, now: float) -> bool:
        """Whether a text would miss its deadline. An only call runs in any case, or a wrong pace would never be
        corrected.
        """
        if call.deadline <= now or len(self._numbers) == 1:
            return call.deadline <= now
        return call.deadline < now + self._pace.seconds(len(text.ids))

    def _fits(self, batch: Batch, text: Encoded, tokens: float, texts: float) -> bool:
        count, length = len(batch.members) + 1, len(text.ids)
        return (
            count <= texts and self._layout.computed(count, max(batch.longest, length), batch.tokens + length) <= tokens
        )

    def _remove(self, call: Waiting) -> int:
        number = self._numbers.pop(call, None)
        if number is None:
            return 0
        lane, rest = self._lane(call), call.texts[call.taken :]
        del lane.entries[bisect_left(lane.entries, (call.due, number))]
        lane.count_out(rest)
        call.taken = len(call.texts)
        return len(rest)

    def _lane(self, call: Waiting) -> _Lane:
        return self._lanes[call.priority][call.large]


def order_by(deadline: float, arrived: float) -> float:
    """Return a call's position in the order: its deadline, at most _ORDER_SECONDS after its arrival."""
    return min(deadline, arrived + _ORDER_SECONDS)
