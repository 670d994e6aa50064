"""Runs batches of the texts that wait. Knows nothing of gRPC, and of arrays only whether they are finite.

As soon as the model is free the front of the queue becomes a batch. While it runs, the next one is laid out, if the
queue holds enough to fill it; who has gone by then is not run. Each call has one future, so whatever becomes of a
batch, every caller is answered.
"""

import asyncio
import logging
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from math import inf
from time import perf_counter
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from bertwire_runtime.layouts import Arrays, Layout
from bertwire_runtime.tokenizer import Encoded
from bertwire_server.errors import CLOCK_SECONDS, Expired, ModelFailed, NotReady
from bertwire_server.model.cost import Cost
from bertwire_server.model.door import Door
from bertwire_server.model.observer import Observer, Ran
from bertwire_server.model.queue import Answer, Batch, BatchLimits, Call, Queue
from bertwire_server.model.worker import BEHIND, Worker
from bertwire_server.query import Priority

_log = logging.getLogger(__name__)
_STOPPED = "the model is being shut down; send the request again, here or to another server"
_HANGS = "the model does not answer any more; send the request to another server"
_FAILED = "the model failed on texts[{}]; the server's log has the cause"
_TOO_LATE = "the deadline passed before the answer was ready"

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
        self._door = Door(self._queue, self.cost, limits.waiting, observer)
        # Time of the runs that have ended, and the start of the one under way; one value: another thread reads it.
        self._busy: tuple[float, float | None] = (0.0, None)
        self._ended_at = -inf
        self._changed = asyncio.Event()
        self._engine, self._helper = Worker("model", BEHIND), Worker("layout")
        self._task: asyncio.Task[None] | None = None

    @property
    def waiting(self) -> int:
        """Texts in the queue, and on their way into it."""
        return self._door.waiting

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
        self._loop = asyncio.get_running_loop()
        self._task = asyncio.create_task(self._work(), name="scheduler")

    async def stop(self) -> None:
        """Ends, after the run under way; calls that are not answered fail with `NotReady`."""
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
        self._door.admit(texts, tokens, priority, deadline, tokenize_seconds)

    def shed(self, remaining: float) -> Callable[[], object]:
        """Refuses a call of which nothing is known yet, as `Door.shed`."""
        return self._door.shed(remaining)

    def patience(self) -> float:
        """For how many seconds arrivals may wait to be looked at; any thread may ask."""
        return self._door.patience()

    def expect(self, texts: int, seconds: float) -> None:
        """Texts are on their way (less where negative): they take room, and an idle model waits for them a while.

        Args:
            texts: how many.
            seconds: about how long tokenizing them takes, which all that come after them wait for.
        """
        self._door.expect(texts, seconds)
        if not self._door.on_the_way:
            self._changed.set()

    async def submit(
        self, texts: Sequence[Encoded], priority: Priority = Priority.NORMAL, deadline: float = inf
    ) -> list[Answer]:
        """Queues the texts of a call and waits for all of their answers, in order.

        A cancelled call leaves the queue; its texts are not run unless their batch is under way.

        Raises:
            Expired: the deadline passed in the queue, or cannot be kept any more.
            ModelFailed: the run of one text raised, or gave no finite numbers.
            NotReady: the scheduler ended, for one since a run hung, or was never started.
        """
        if self._task is None or self.ended.is_set():
            raise NotReady(_STOPPED)
        call = Call(texts, priority, deadline, perf_counter(), self._loop.create_future())
        self._queue.add(call)
        self._changed.set()
        try:
            return await call.future
        except asyncio.CancelledError:
            gone = self._queue.forget(call)
            late = deadline <= perf_counter() + CLOCK_SECONDS
            (self._observer.expired if late else self._observer.cancelled)(gone)
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
            self._door.batch = Batch()
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
        while self._door.on_the_way and not self._queue.is_full() and (left := end - perf_counter()) > 0:
            await self._next_change(left)

    async def _next_change(self, seconds: float | None) -> None:
        self._changed.clear()
        # Not wait_for, which before Python 3.12 can lose the cancellation that `stop` sends.
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._changed.wait()

    def _drop_late(self) -> None:
        for call in self._queue.late(perf_counter()):
            self._observer.expired(self._queue.forget(call))
            call.fail(Expired(_TOO_LATE))

    async def _run_batch(self, batch: Batch, arrays: Arrays | None) -> "_Ahead":
        """Runs a batch and answers its texts; meanwhile lays out the one after it, where that is full already."""
        texts = batch.texts
        lengths = [len(text.ids) for text in texts]
        computed = self._layout.computed(len(texts), batch.longest, batch.tokens)
        # Else a small batch is no sign of anything but that little is asked.
        behind_others = bool(len(self._queue))
        start = perf_counter()
        self._door.batch, self._door.until = batch, start + self.cost.seconds(computed)
        self._busy = (self._busy[0], start)
        job = self._engine.run(self._compute, texts, arrays)
        ahead = self._lay_out_ahead()
        done, _ = await asyncio.wait([job], timeout=self._hang_seconds)
        if not done:
            raise _Hung
        end = perf_counter()
        error = job.exception()
        # Not until now: the loop may have been busy with other things when the run ended.
        seconds = end - start if error is not None else job.result()[1]
        if behind_others:
            # From the run before, where this batch has waited for that.
            self.cost.add_pace(computed, end - max(self._ended_at, batch.members[0][0].arrived))
        self._ended_at = end
        self._busy = (self._busy[0] + seconds, None)
        self.totals.add(lengths, computed, seconds)
        self._observer.ran(Ran(lengths, computed, [start - call.arrived for call, _ in batch.members], seconds))
        if error is not None:
            await self._split(batch, error)
        else:
            self.cost.add(computed, seconds)
            _answer(batch, job.result()[0], start, seconds)
        self._door.batch = Batch()
        return ahead

    def _compute(self, texts: Sequence[Encoded], arrays: Arrays | None) -> tuple[Rows, float]:
        start = perf_counter()
        rows = self._runner.run(self._runner.lay_out(texts) if arrays is None else arrays, texts)
        if len(rows) != len(texts):
            raise ValueError(f"the model gave {len(rows)} rows of logits for {len(texts)} texts")
        return rows, perf_counter() - start

    def _lay_out_ahead(self) -> "_Ahead":
        if not self._queue.is_full():
            return _Ahead([], None)
        batch = self._queue.plan(self._door.until)
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
