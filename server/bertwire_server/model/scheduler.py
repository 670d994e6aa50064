"""Runs batches of the texts that wait. Knows nothing of gRPC, and of arrays only whether they are finite.

As soon as the model is free the front of the queue becomes a batch. While it runs, the next one is laid out, if the
queue holds enough to fill it; who has gone by then is not run. Each call has one future, so whatever becomes of a
batch, every caller is answered.
"""

import asyncio
import logging
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from math import inf
from time import perf_counter
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from bertwire_export.bundle.layouts import Arrays, Layout
from bertwire_server.errors import Expired, ModelFailed, NotReady, Overloaded
from bertwire_server.model.cost import Cost
from bertwire_server.model.observer import Observer, Ran
from bertwire_server.model.queue import Answer, Batch, BatchLimits, Call, Queue
from bertwire_server.model.tokenizer import Encoded
from bertwire_server.model.worker import BEHIND, Worker
from bertwire_server.query import Priority

_log = logging.getLogger(__name__)
_STOPPED = "the model is being shut down; send the request again, here or to another server"
_HANGS = "the model does not answer any more; send the request to another server"
# A queue that is filled up to the last moment of its deadlines misses those for which something takes a little longer.
_CAUTION = 1.1
# Most of the time until its deadline that a call must leave for texts that come later.
_COMPANY = 1 / 3
# Of the calls that would be refused unread, one in so many is read all the same; and for how long after a call of high
# priority such calls are reckoned with.
_SEEN_OF_SHED, _HIGH_SECONDS = 8, 60.0
_EXPIRED = "the deadline passed before the request was read"
_TOO_LATE = "the answer cannot be ready within the deadline; slow down, or allow more time"
_FAILED = "the model failed on texts[{}]; the server's log has the cause"
_MIN_RETRY_SECONDS, _MAX_RETRY_SECONDS = 0.01, 10.0

Rows = Sequence[NDArray[np.float32]]


class Runner(Protocol):
    """What runs a batch; both methods block, and are called in threads of the scheduler's own."""

    def lay_out(self, texts: Sequence[Encoded]) -> Arrays:
        """The inputs of the graph for a batch."""

    def run(self, arrays: Arrays, texts: Sequence[Encoded]) -> Rows:
        """The logits of each text, float32."""


@dataclass(slots=True)
class Totals:
    """What has been run so far.

    Attributes:
        batches: batches.
        texts: texts in them.
        tokens: the texts' own tokens.
        computed: tokens computed, padding included.
        by_size: for each number of texts, how many batches had it, and the seconds that they ran.
    """

    batches: int = 0
    texts: int = 0
    tokens: int = 0
    computed: int = 0
    by_size: dict[int, tuple[int, float]] = field(default_factory=dict)

    def add(self, lengths: Sequence[int], computed: int, seconds: float) -> None:
        """Counts a batch of texts with these lengths."""
        self.batches += 1
        self.texts += len(lengths)
        self.tokens += sum(lengths)
        self.computed += computed
        count, before = self.by_size.get(len(lengths), (0, 0.0))
        self.by_size[len(lengths)] = (count + 1, before + seconds)


class Scheduler:
    """The queue in front of one model. All methods belong to one event loop.

    Attributes:
        totals: what has been run so far.
        cost: what a run is expected to take.
        ended: set when it runs no batches any more: after `stop`, where a run hangs, or for a fault of its own, which
            are logged.
    """

    def __init__(
        self, runner: Runner, limits: BatchLimits, layout: Layout, observer: Observer, hang_seconds: float
    ) -> None:
        """Starts nothing yet; see `start`.

        Args:
            runner: runs a batch.
            limits: what a batch and the queue may hold.
            layout: says how many tokens a batch computes.
            observer: told what becomes of texts.
            hang_seconds: a run that takes longer counts as hung, and ends the scheduler.
        """
        self.totals, self.cost, self.ended = Totals(), Cost(), asyncio.Event()
        self._runner, self._limits, self._layout = runner, limits, layout
        self._observer, self._hang_seconds = observer, hang_seconds
        self._queue = Queue(limits, layout, self.cost)
        self._batch = Batch()  # the one that runs
        self._until = 0.0  # when that is expected to end
        # Time of the runs that have ended, and the start of the one under way; one value: another thread reads it.
        self._busy: tuple[float, float | None] = (0.0, None)
        self._on_the_way, self._tokenize_seconds = 0, 0.0
        self._shed_count, self._high_at, self._ended_at = 0, -inf, -inf
        self._changed = asyncio.Event()
        self._engine, self._helper = Worker("model", BEHIND), Worker("layout")
        self._task: asyncio.Task[None] | None = None

    @property
    def waiting(self) -> int:
        """Texts in the queue, and on their way into it."""
        return len(self._queue) + self._on_the_way

    @property
    def busy_seconds(self) -> float:
        """Time that the engine has run so far, the run under way included; any thread may ask."""
        ended, since = self._busy
        return ended if since is None else ended + perf_counter() - since

    def narrow(self, tokens: int) -> None:
        """Allows batches no more than so many tokens from now on."""
        self._queue.narrow(tokens)

    def start(self) -> None:
        """Begins to run batches."""
        self._task = asyncio.create_task(self._work(), name="scheduler")

    async def stop(self) -> None:
        """Ends after the batch under way; calls still waiting fail with `NotReady`."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])
        self.ended.set()
        for worker in (self._engine, self._helper):
            if not await worker.stop(self._hang_seconds):
                _log.error("a run did not end; leaving it behind")

    def admit(
        self, texts: int, tokens: float, priority: Priority, deadline: float, tokenize_seconds: float = 0.0
    ) -> None:
        """Refuses a call that has no room or cannot be answered in time, before any work goes into it.

        Args:
            texts: how many.
            tokens: about how many they have together.
            priority: its class.
            deadline: when its answer is of no use any more; infinite where it always is.
            tokenize_seconds: about how long tokenizing them takes.

        Raises:
            Overloaded: there is no room, or it would come too late.
            Expired: its deadline has passed.
            NotReady: the scheduler has ended, or was never started.
        """
        if self._task is None or self.ended.is_set():
            raise NotReady(_STOPPED)
        now = perf_counter()
        if priority == Priority.HIGH:
            self._high_at = now
        if self.waiting + texts > self._limits.waiting:
            self._observer.turned_away("queue_full", texts)
            retry = _retry(self.cost.seconds(self._queue.tokens) / 2)
            raise Overloaded(f"{self.waiting} texts are waiting already; slow down and try again", retry)
        if deadline <= now:
            self._observer.expired(texts)
            raise Expired(_EXPIRED)
        # Nothing ahead: run it, or nobody would learn that the model has become faster again.
        if deadline == inf or not (self._batch.members or self.waiting):
            return
        late = self._late(texts, tokens, priority, deadline - tokenize_seconds, now)
        if late > 0:
            self._observer.turned_away("deadline", texts)
            raise Overloaded(_TOO_LATE, _retry(late))

    def shed(self, remaining: float) -> None:
        """Refuses a call that nothing is known of but how long its caller will wait, in seconds.

        As a call of one text of usual length and normal priority, or high where calls of high priority have been seen
        lately. One in eight is let through to be seen.

        Raises:
            Overloaded: it would come too late.
            Expired: its deadline has passed.
        """
        if remaining <= 0:
            self._observer.expired(1)
            raise Expired(_EXPIRED)
        known = len(self._queue) + len(self._batch.members)
        if not self._batch.members:
            return
        self._shed_count += 1
        if self._shed_count % _SEEN_OF_SHED == 0:
            return
        now = perf_counter()
        priority = Priority.HIGH if now - self._high_at < _HIGH_SECONDS else Priority.NORMAL
        late = self._late(1, (self._queue.tokens + self._batch.tokens) / known, priority, now + remaining, now)
        if late > 0:
            self._observer.turned_away("deadline", 1)
            raise Overloaded(_TOO_LATE, _retry(late))

    def _late(self, texts: int, tokens: float, priority: Priority, deadline: float, now: float) -> float:
        """By how many seconds a call that comes now would miss its deadline; negative where it would keep it.

        Its last text will share a batch with texts that come later, and must leave time for them: or batches get ever
        smaller under load, just when large ones are needed.
        """
        left = deadline - now
        ahead = (
            self._tokenize_seconds
            + max(0.0, self._until - now)
            + self._queue.seconds(texts, tokens, priority, deadline, now)
        )
        return _CAUTION * (ahead + min(self._queue.full_seconds(), _COMPANY * left)) - left

    def expect(self, texts: int, seconds: float) -> None:
        """Texts are on their way (less where negative): they take room, and an idle model waits for them a while.

        Args:
            texts: how many.
            seconds: about how long tokenizing them takes, which all that come after them wait for.
        """
        self._on_the_way += texts
        self._tokenize_seconds = self._tokenize_seconds + seconds if self._on_the_way else 0.0
        if not self._on_the_way:
            self._changed.set()

    async def submit(
        self, texts: Sequence[Encoded], priority: Priority = Priority.NORMAL, deadline: float = inf
    ) -> list[Answer]:
        """Queues the texts of a call and waits for all of their answers, in order.

        A cancelled call leaves the queue; its texts are not run unless their batch is under way.

        Raises:
            Expired: the deadline passed in the queue.
            Overloaded: it cannot be kept any more.
            ModelFailed: the run of one text raised, or gave no finite numbers.
            NotReady: the scheduler ended, for one since a run hung, or was never started.
        """
        if self._task is None or self.ended.is_set():
            raise NotReady(_STOPPED)
        call = Call(texts, priority, deadline, perf_counter(), asyncio.get_running_loop().create_future())
        self._queue.add(call)
        self._changed.set()
        try:
            return await call.future
        except asyncio.CancelledError:
            gone = self._queue.forget(call)
            (self._observer.expired if deadline <= perf_counter() else self._observer.cancelled)(gone)
            raise
        finally:
            self._queue.forget(call)

    async def _work(self) -> None:
        reason = NotReady(_STOPPED)
        ahead, batch = _Ahead([], None), Batch()
        try:
            while True:
                await self._until_ready()
                self._drop_late()
                batch = self._queue.plan(perf_counter())
                self._queue.commit(batch)
                if batch.members:
                    ahead = await self._run_batch(batch, ahead.arrays(batch))
        except _Hung:
            _log.critical("a batch has not ended for %.0f s; no text is answered any more", self._hang_seconds)
            reason = NotReady(_HANGS)
        except Exception:
            _log.exception("the scheduler failed; no text is answered any more")
        finally:
            self.ended.set()
            # All of the batch, also where only a half of it is running; who is answered already stays so.
            for call in (*(call for call, _ in batch.members), *self._queue.calls()):
                call.fail(reason)

    async def _until_ready(self) -> None:
        """Returns when something waits and the little that is on its way has had its time to come."""
        while not len(self._queue):
            await self._next_change(None)
        # What has been read from the network comes first; answers just given bring new calls.
        await asyncio.sleep(0)
        end = perf_counter() + self._limits.delay
        while self._on_the_way and not self._queue.is_full() and (left := end - perf_counter()) > 0:
            await self._next_change(left)

    async def _next_change(self, seconds: float | None) -> None:
        self._changed.clear()
        # Not wait_for, which before Python 3.12 can lose the cancellation that `stop` sends.
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._changed.wait()

    def _drop_late(self) -> None:
        now = perf_counter()
        for call in self._queue.late(now):
            texts = self._queue.forget(call)
            if call.deadline <= now:
                self._observer.expired(texts)
                call.fail(Expired("the deadline passed before the answer was ready"))
            else:
                self._observer.turned_away("deadline", texts)
                call.fail(Overloaded(_TOO_LATE, _MIN_RETRY_SECONDS))

    async def _run_batch(self, batch: Batch, arrays: Arrays | None) -> "_Ahead":
        """Runs a batch and answers its texts; meanwhile lays out the one after it, where that is full already."""
        texts = batch.texts
        lengths = [len(text.ids) for text in texts]
        computed = self._layout.computed(len(texts), batch.longest, batch.tokens)
        start = perf_counter()
        self._batch, self._until = batch, start + self.cost.seconds(computed)
        self._busy = (self._busy[0], start)
        job = self._engine.run(self._compute, texts, arrays)
        ahead = self._lay_out_ahead()
        done, _ = await asyncio.wait([job], timeout=self._hang_seconds)
        if not done:
            raise _Hung
        end = perf_counter()
        seconds = end - start
        # From the run before, where this batch has waited for that.
        self.cost.add_pace(computed, end - max(self._ended_at, batch.members[0][0].arrived))
        self._ended_at = end
        self._busy = (self._busy[0] + seconds, None)
        self.totals.add(lengths, computed, seconds)
        self._observer.ran(Ran(lengths, computed, [start - call.arrived for call, _ in batch.members], seconds))
        if (error := job.exception()) is not None:
            await self._split(batch, error)
        else:
            self.cost.add(computed, seconds)
            _answer(batch, job.result(), start, seconds)
        self._batch = Batch()
        return ahead

    def _compute(self, texts: Sequence[Encoded], arrays: Arrays | None) -> Rows:
        rows = self._runner.run(self._runner.lay_out(texts) if arrays is None else arrays, texts)
        if len(rows) != len(texts):
            raise ValueError(f"the model gave {len(rows)} rows of logits for {len(texts)} texts")
        return rows

    def _lay_out_ahead(self) -> "_Ahead":
        if not self._queue.is_full():
            return _Ahead([], None)
        batch = self._queue.plan(self._until)
        future = self._helper.run(self._runner.lay_out, batch.texts)
        future.add_done_callback(asyncio.Future.exception)  # the batch itself will fail, and tell
        return _Ahead(batch.members, future)

    async def _split(self, batch: Batch, error: BaseException) -> None:
        """Runs the halves of a batch that failed, until the text that is at fault is alone."""
        members = [member for member in batch.members if not member[0].future.done()]
        if len(batch.members) == 1:
            _log.error("the model failed on a text of %d tokens", batch.longest, exc_info=error)
            for call, place in members:
                call.fail(ModelFailed(_FAILED.format(place)))
            return
        _log.warning("a batch of %d texts failed (%s); running its halves", len(batch.members), type(error).__name__)
        middle = (len(members) + 1) // 2
        for half in (members[:middle], members[middle:]):
            part = Batch()
            for call, place in half:
                if not call.future.done():
                    part.add(call, place)
            if part.members:
                await self._run_batch(part, None)


class _Hung(Exception):
    """A run does not end."""


@dataclass(frozen=True, slots=True)
class _Ahead:
    """The batch that was expected to come next, being laid out."""

    members: list[tuple[Call, int]]
    future: asyncio.Future[Arrays] | None

    def arrays(self, batch: Batch) -> Arrays | None:
        """The inputs, if it is this batch that came and they are ready."""
        if self.future is None or self.members != batch.members or not self.future.done() or self.future.exception():
            return None
        return self.future.result()


def _answer(batch: Batch, rows: Rows, start: float, seconds: float) -> None:
    all_finite = bool(np.isfinite(np.concatenate(rows)).all())
    for (call, place), row in zip(batch.members, rows, strict=True):
        if all_finite or np.isfinite(row).all():
            call.settle(place, Answer(row, start - call.arrived, seconds))
        else:
            call.fail(ModelFailed(f"the model gives no finite numbers for texts[{place}]"))


def _retry(seconds: float) -> float:
    return min(max(seconds, _MIN_RETRY_SECONDS), _MAX_RETRY_SECONDS)
