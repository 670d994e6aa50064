"""The queue of a model, and the selection of batches from it.

Calls are ordered by priority, then by deadline. Small and large calls have separate lanes: while small calls wait,
large ones get a quarter of a batch's tokens, and whatever is left over.
"""

from bisect import bisect_left, insort
from collections.abc import Sequence
from math import inf
from threading import Condition
from time import perf_counter

from bertwire_runtime.layouts import Layout
from bertwire_runtime.tokenizer import Encoded
from bertwire_server.model.pace import Pace
from bertwire_server.model.waiting import Batch, Waiting, is_large
from bertwire_server.query import Priority

# Share of a batch's tokens for large calls while small ones wait. Halved, a call of a thousand texts takes twice as
# long under load; doubled, half of each batch delays single texts.
_LARGE_SHARE = 0.25


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
                elif each == priority and is_large(texts):
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
