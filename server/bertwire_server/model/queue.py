"""The texts that wait for a model, and which of them make the next batch.

Calls wait in lanes, one a priority, each in order of its deadline. A batch takes from the highest lane first. Within a
lane every call gives one text before any gives a second, but for a quarter of the batch that is kept for the rest of
calls with many texts: so a call of a thousand texts moves on, and hardly slows down calls of one. Where few calls of
one text wait they get a small batch, of which such calls have a quarter too.
"""

import asyncio
from bisect import bisect, insort
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from math import ceil, inf
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bertwire_runtime.layouts import Layout
from bertwire_runtime.tokenizer import Encoded
from bertwire_server.model.cost import Cost
from bertwire_server.query import Priority

# A call without a deadline, or with a late one, takes its turn as if it had this; otherwise it would starve.
_PATIENCE_SECONDS = 10.0
# Of a batch, for further texts of calls that have given one already.
_BULK_SHARE = 0.25
# Calls that have ended are swept out when they are more than the others and this many.
_DEAD_KEPT = 64
# From the end of a run to an answer on the wire.
REPLY_SECONDS = 0.001


@dataclass(frozen=True, slots=True)
class BatchLimits:
    """What a batch and the queue may hold.

    Attributes:
        tokens: most tokens that a batch computes; one text may exceed it alone.
        texts: most texts of a batch.
        delay: longest that an idle model waits for texts that are still being tokenized, in seconds.
        waiting: most texts in the queue.
    """

    tokens: int
    texts: int
    delay: float
    waiting: int


@dataclass(frozen=True, slots=True)
class Answer:
    """What became of one text.

    Attributes:
        logits: float32, as the model's task has them.
        queue_seconds: wait from arrival to the start of the run.
        run_seconds: the run of its batch.
    """

    logits: NDArray[np.float32]
    queue_seconds: float
    run_seconds: float


@dataclass(slots=True, eq=False)
class Call:
    """The texts of one call; its future holds all the answers, or the first failure.

    Attributes:
        texts: its texts.
        priority: its class.
        deadline: when its answer is of no use any more; infinite where it always is.
        arrived: when it came.
        future: the answers, in order.
        taken: texts that have left the queue, which are the first ones.
        tokens: tokens of those that have not.
    """

    texts: Sequence[Encoded]
    priority: Priority
    deadline: float
    arrived: float
    future: asyncio.Future[list[Answer]]
    taken: int = 0
    tokens: int = field(init=False)
    _answers: list[Any] = field(init=False)
    _left: int = field(init=False)

    def __post_init__(self) -> None:
        self.tokens = sum(len(text.ids) for text in self.texts)
        self._left = len(self.texts)
        self._answers = [None] * self._left

    @property
    def due(self) -> float:
        """What its turn in its lane goes by."""
        return min(self.deadline, self.arrived + _PATIENCE_SECONDS)

    @property
    def waiting(self) -> bool:
        """Whether it has texts in the queue."""
        return self.taken < len(self.texts)

    def settle(self, place: int, answer: Answer) -> None:
        """Answers one text; the last one answers the call."""
        self._answers[place] = answer
        self._left -= 1
        if not self._left and not self.future.done():
            self.future.set_result(self._answers)

    def fail(self, error: Exception) -> None:
        """Fails the call."""
        if not self.future.done():
            self.future.set_exception(error)


@dataclass(slots=True, eq=False)
class Batch:
    """Texts that are run together.

    Attributes:
        members: each text's call, and its place there.
        longest: tokens of the longest.
        tokens: tokens of all.
        deadline: the earliest of their deadlines.
    """

    members: list[tuple[Call, int]] = field(default_factory=list)
    longest: int = 0
    tokens: int = 0
    deadline: float = inf

    @property
    def texts(self) -> list[Encoded]:
        """The texts."""
        return [call.texts[place] for call, place in self.members]

    def add(self, call: Call, place: int) -> None:
        """Takes a text in."""
        length = len(call.texts[place].ids)
        self.members.append((call, place))
        self.longest, self.tokens = max(self.longest, length), self.tokens + length
        self.deadline = min(self.deadline, call.deadline)


@dataclass(frozen=True, slots=True)
class Newcomer:
    """A call that has not come in yet.

    Attributes:
        texts: how many.
        tokens: about how many they have together.
        priority: its class.
        deadline: when its answer is of no use any more; infinite where it always is.
    """

    texts: int
    tokens: float
    priority: Priority
    deadline: float


@dataclass(frozen=True, slots=True)
class Place:
    """Where a call would wait.

    Attributes:
        runs: until its last answer is ready, where every batch is full.
        tokens: of these.
    """

    runs: int
    tokens: float


class _Lane:
    """The waiting calls of one priority, by `Call.due`; calls that wait no more stay in until they are in the way."""

    def __init__(self) -> None:
        self.entries: list[tuple[float, int, Call]] = []
        self.texts = self.tokens = 0

    def waiting(self) -> Iterator[Call]:
        """The calls that wait, the earliest first."""
        dead = next((index for index, entry in enumerate(self.entries) if entry[2].waiting), len(self.entries))
        del self.entries[:dead]
        return (entry[2] for entry in self.entries if entry[2].waiting)

    def hurried(self) -> tuple[Call | None, int, int]:
        """The last of the waiting calls that has a deadline; texts and tokens that wait up to and with it."""
        texts, tokens = self.texts, self.tokens
        for _, _, call in reversed(self.entries):
            if call.deadline < inf and call.waiting:
                return call, texts, tokens
            if call.waiting:
                texts, tokens = texts - len(call.texts) + call.taken, tokens - call.tokens
        return None, 0, 0

    def remove(self, texts: int, tokens: int) -> None:
        """Counts texts out."""
        self.texts -= texts
        self.tokens -= tokens
        # Behind a long run, calls that come and go would fill the lane without end.
        if len(self.entries) > 2 * self.texts + _DEAD_KEPT:
            self.entries = [entry for entry in self.entries if entry[2].waiting]


class Queue:
    """All waiting texts of one model."""

    def __init__(self, limits: BatchLimits, layout: Layout, cost: Cost) -> None:
        """Begins empty.

        Args:
            limits: what a batch and the queue may hold.
            layout: says how many tokens a batch computes.
            cost: says how long one runs.
        """
        self._limits, self._layout, self._cost = limits, layout, cost
        self._lanes = {priority: _Lane() for priority in Priority}
        self._count = 0

    def __len__(self) -> int:
        """Texts."""
        return sum(lane.texts for lane in self._lanes.values())

    @property
    def tokens(self) -> int:
        """Tokens of the texts."""
        return sum(lane.tokens for lane in self._lanes.values())

    def narrow(self, tokens: int) -> None:
        """Allows batches no more than so many tokens from now on."""
        self._limits = replace(self._limits, tokens=tokens)

    def is_full(self) -> bool:
        """Whether what waits would fill a batch."""
        return len(self) >= self._limits.texts or self.tokens >= self._limits.tokens

    def calls(self) -> Iterator[Call]:
        """Every call with texts in the queue."""
        return (call for lane in self._lanes.values() for call in lane.waiting())

    def add(self, call: Call) -> None:
        """Takes a call in."""
        lane = self._lanes[call.priority]
        self._count += 1  # calls of one deadline go by their order
        insort(lane.entries, (call.due, self._count, call))
        lane.texts += len(call.texts)
        lane.tokens += call.tokens

    def forget(self, call: Call) -> int:
        """Takes out what is left of a call that nobody waits for; how many texts."""
        texts, tokens = len(call.texts) - call.taken, call.tokens
        call.taken, call.tokens = len(call.texts), 0
        self._lanes[call.priority].remove(texts, tokens)
        return texts

    def place(self, new: Newcomer, now: float, unread: int) -> Place:
        """Where a new call's last text would wait.

        A guess, by how many calls have their turn before: one text of each counts for a call of one text, all of them
        for a call of many.

        Args:
            new: the call.
            now: the time.
            unread: calls that come before it and have not been read, of which each counts as a text like its own.
        """
        count, tokens = float(new.texts + unread), new.tokens * (1 + unread / new.texts)
        for each, lane in self._lanes.items():
            if each > new.priority or not lane.texts:
                continue
            before = float(lane.texts)
            if each == new.priority:
                place = bisect(lane.entries, (min(new.deadline, now + _PATIENCE_SECONDS), self._count + 1))
                share = lane.texts * place / len(lane.entries)
                before = share if new.texts > 1 else min(place / (1 - _BULK_SHARE), share)
            count, tokens = count + before, tokens + before * lane.tokens / lane.texts
        return Place(ceil(max(count / self._limits.texts, tokens / self._limits.tokens)), tokens)

    def full_seconds(self) -> float:
        """How long a full batch of texts as they are waiting runs."""
        texts = len(self)
        tokens = self.tokens / texts * self._limits.texts if texts else 0.0
        return self._cost.queue_seconds(min(tokens, self._limits.tokens), 1)

    def late(self, now: float) -> list[Call]:
        """The calls that come next and cannot be answered in time any more.

        Where calls with deadlines are in danger, by what comes before the last of them, those too that could be, but
        only by a batch that is smaller than it might be: small batches take more time for each text, and then more and
        more calls come too late.

        Not the very last one that waits, or nobody would learn that the model has become faster again; but that too
        once its deadline has passed.
        """
        found, rest = list[Call](), len(self)
        texts = tokens = 0  # of the lanes before
        for lane in self._lanes.values():
            last, hurried_texts, hurried_tokens = lane.hurried()
            ahead_texts, ahead_tokens = texts + hurried_texts, tokens + hurried_tokens
            danger = last is not None and self._in_danger(ahead_texts, ahead_tokens, last.deadline - now)
            texts, tokens = texts + lane.texts, tokens + lane.tokens
            for call in lane.waiting():
                left = len(call.texts) - call.taken
                least = self._batch_seconds(ahead_texts, ahead_tokens) if danger else 0.0
                end = now + max(least, self._cost.seconds(call.tokens, ceil(left / self._limits.texts))) + REPLY_SECONDS
                if call.deadline > now and (end <= call.deadline or left == rest):
                    break
                found.append(call)
                rest, texts, tokens = rest - left, texts - left, tokens - call.tokens
                ahead_texts, ahead_tokens = ahead_texts - left, ahead_tokens - call.tokens
        return found

    def _batch_seconds(self, texts: int, tokens: int) -> float:
        """How long a batch runs of what so many texts with so many tokens have in the mean."""
        share = min(1.0, self._limits.texts / max(texts, 1))
        return self._cost.seconds(min(tokens * share, self._limits.tokens))

    def _in_danger(self, texts: int, tokens: int, seconds: float) -> bool:
        """Whether so many texts take more than half of the time that there is for them."""
        runs = ceil(max(texts / self._limits.texts, tokens / self._limits.tokens))
        return 2 * self._cost.queue_seconds(tokens, runs) > seconds

    def plan(self, now: float) -> Batch:
        """The next batch; it is empty where nothing waits. Removes nothing: see `commit`.

        It ends where a further text would make it miss the deadline of one.
        """
        batch = Batch()
        for lane in self._lanes.values():
            calls = list(islice(lane.waiting(), self._limits.texts))
            room = self._limits.texts - len(batch.members)
            single = sum(call.taken + 1 == len(call.texts) for call in calls)
            # A batch with calls of one text takes little more than these: they would wait for all of it.
            share = ceil(room * _BULK_SHARE)
            most = min(share, ceil(single * _BULK_SHARE)) if single else room
            kept = min(most, share) if single < len(calls) else 0
            first = [(call, call.taken) for call in calls]
            begun = self._fill(batch, first, room - kept, now)
            left = self._limits.texts - len(batch.members)
            further = ((call, place) for call in calls[:begun] for place in range(call.taken + 1, len(call.texts)))
            left -= self._fill(batch, further, min(left, most), now)
            self._fill(batch, first[begun:], left, now)
        return batch

    def commit(self, batch: Batch) -> None:
        """Removes the texts of a planned batch."""
        for call, place in batch.members:
            length = len(call.texts[place].ids)
            call.taken = place + 1
            call.tokens -= length
            self._lanes[call.priority].remove(1, length)

    def _fill(self, batch: Batch, texts: Iterable[tuple[Call, int]], room: int, now: float) -> int:
        """Adds texts in order while there is room and each fits; how many."""
        added = 0
        for call, place in islice(texts, room):
            if batch.members and not self._fits(batch, call, place, now):
                break
            batch.add(call, place)
            added += 1
        return added

    def _fits(self, batch: Batch, call: Call, place: int, now: float) -> bool:
        length = len(call.texts[place].ids)
        count = len(batch.members) + 1
        computed = self._layout.computed(count, max(batch.longest, length), batch.tokens + length)
        if computed > self._limits.tokens:
            return False
        return now + self._cost.seconds(computed) + REPLY_SECONDS <= min(batch.deadline, call.deadline)
