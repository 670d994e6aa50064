"""Scheduling of a model's batches on a thread of its own, independent of gRPC.

The thread takes a batch from the queue, runs it and delivers its results in one callback on the event loop. Each call
has one future, so that every call is answered whatever happens to a batch.
"""

import asyncio
import logging
from collections.abc import Callable, Sequence
from math import inf
from time import perf_counter
from typing import TypeVar

from bertwire_runtime.layouts import Layout
from bertwire_runtime.tokenizer import Encoded
from bertwire_server.errors import CLOCK_SECONDS, Expired, ModelFailed, NotReady
from bertwire_server.model.admission import Admission
from bertwire_server.model.observer import Observer, Ran
from bertwire_server.model.pace import Pace
from bertwire_server.model.queue import Queue
from bertwire_server.model.runs import Outcome, Run, Runs, Totals
from bertwire_server.model.waiting import Batch, Result, Waiting
from bertwire_server.query import Priority
from bertwire_server.threads import worker

_log = logging.getLogger(__name__)
_STOPPED = "the model is being shut down; send the request again, here or to another server"
_HANGS = "the model does not answer any more; send the request to another server"
_TOO_LATE = "the deadline passed before the answer was ready"
# Checks for a hung run per `hang_seconds`.
_HANG_CHECKS = 4

T = TypeVar("T")


class Scheduler:
    """Queue and worker thread of a model. Methods belong to one event loop unless they say otherwise.

    Attributes:
        totals: counts of runs so far.
        ended: set after `stop`, a hung run or an internal error, when no batch runs any more.
    """

    def __init__(
        self,
        run: Run,
        layout: Layout,
        pace: Pace,
        *,
        most_texts: int,
        room: int,
        hang_seconds: float,
        niceness: int,
        observer: Observer,
    ) -> None:
        """Create the thread; nothing runs before `start`.

        Args:
            run: runs a batch, in the thread.
            layout: determines the computed tokens of a batch.
            pace: limits them.
            most_texts: most texts of a batch.
            room: most queued texts.
            hang_seconds: run time after which the scheduler counts as hung and ends.
            niceness: of the thread.
            observer: notified on the event loop of what happens to texts.
        """
        self.totals, self.ended = Totals(), asyncio.Event()
        self._observer, self._hang_seconds = observer, hang_seconds
        self._queue, self._runs = Queue(layout, pace, most_texts), Runs(run, layout, pace)
        self._admission = Admission(self._queue, self._runs, pace, room, observer)
        self._executor = worker("model", niceness)
        self._running: Batch | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._working: asyncio.Future[None] | None = None
        self._watching: asyncio.Task[None] | None = None

    @property
    def waiting(self) -> int:
        """Return the texts in the queue or being tokenized for it."""
        return self._admission.waiting

    @property
    def busy_seconds(self) -> float:
        """Return the seconds of runs so far, the current one included; thread-safe."""
        return self._runs.busy_seconds

    def call(self, work: Callable[[], T]) -> T:
        """Run `work` on the worker thread and wait for it; not from the event loop's thread."""
        return self._executor.submit(work).result()

    def start(self) -> None:
        """Start running batches."""
        self._loop = asyncio.get_running_loop()
        self._working = asyncio.wrap_future(self._executor.submit(self._work))
        self._watching = asyncio.create_task(self._watch())

    async def stop(self) -> None:
        """Stop after the current run; unanswered calls fail with `NotReady`."""
        self._end(NotReady(_STOPPED))
        if self._watching is not None:
            self._watching.cancel()
        if self._working is not None:
            done, _ = await asyncio.wait([self._working], timeout=self._hang_seconds)
            if not done:
                _log.error("a run did not end; leaving it behind")
                self._end(NotReady(_HANGS), self._running)
        self._executor.shutdown(wait=False)

    def admit(self, texts: int, tokens: float, priority: Priority, deadline: float) -> None:
        """Refuse a call as `Admission.admit`, or with `NotReady` where the scheduler has ended."""
        self._require_running()
        self._admission.admit(texts, tokens, priority, deadline)

    def expect(self, texts: int) -> None:
        """Reserve room for admitted texts during tokenizing; release it where negative."""
        self._admission.coming += texts

    async def submit(
        self,
        texts: Sequence[Encoded],
        priority: Priority = Priority.NORMAL,
        deadline: float = inf,
        places: Sequence[int] = (),
    ) -> list[Result]:
        """Queue a call's texts and wait for their results, in order.

        A cancelled call leaves the queue; texts of a running batch run to its end.

        Args:
            texts: the texts.
            priority: those of a higher one run first.
            deadline: on the clock of `perf_counter`.
            places: see `Waiting`.

        Raises:
            Expired: the deadline has passed or cannot be met.
            ModelFailed: a text's run raised, or its logits are not finite.
            NotReady: the scheduler has ended.
        """
        loop = self._require_running()
        call = Waiting(texts, priority, deadline, perf_counter(), loop.create_future(), places)
        self._queue.add(call)
        try:
            return await call.future
        except asyncio.CancelledError:
            gone = self._queue.remove(call)
            late = deadline <= perf_counter() + CLOCK_SECONDS
            (self._observer.expired if late else self._observer.cancelled)(gone)
            raise
        except Exception:
            self._queue.remove(call)
            raise

    def _require_running(self) -> asyncio.AbstractEventLoop:
        if self._loop is None or self.ended.is_set():
            raise NotReady(_STOPPED)
        return self._loop

    def _end(self, reason: NotReady, batch: Batch | None = None) -> None:
        """Refuse further calls, and fail those in the queue and in `batch`."""
        if not self.ended.is_set():
            self.ended.set()
            for call in self._queue.close():
                call.fail(reason)
        for call, _ in batch.members if batch else ():
            call.fail(reason)

    # Worker thread.

    def _work(self) -> None:
        assert self._loop is not None  # noqa: S101 - `start` has set it
        try:
            while (batch := self._queue.take()) is not None:
                self._running = batch
                self._loop.call_soon_threadsafe(self._deliver, self._runs.run(batch))
        except BaseException as error:
            _log.critical("the scheduler failed; no text is answered any more", exc_info=error)
            self._loop.call_soon_threadsafe(self._end, NotReady(_STOPPED), self._running)

    # Event loop.

    def _deliver(self, ran: Outcome) -> None:
        batch = ran.batch
        for call, texts in batch.expired:
            self._observer.expired(texts)
            call.fail(Expired(_TOO_LATE))
        if not batch.members:
            return
        lengths = [len(text.ids) for text in batch.texts]
        waits = [ran.start - call.arrived for call, _ in batch.members]
        self.totals.add(lengths, ran.computed, ran.seconds)
        self._observer.ran(Ran(lengths, ran.computed, waits, ran.seconds))
        for (call, place), row, wait in zip(batch.members, ran.rows, waits, strict=True):
            if isinstance(row, ModelFailed):
                call.fail(row)
            else:
                call.settle(place, Result(row, wait, ran.seconds))

    async def _watch(self) -> None:
        """End the scheduler where a run hangs."""
        while not self.ended.is_set():
            await asyncio.sleep(self._hang_seconds / _HANG_CHECKS)
            since = self._runs.since
            if since is not None and perf_counter() - since > self._hang_seconds:
                seconds = self._hang_seconds
                _log.critical("a batch has not ended for %.0f s; no text is answered any more", seconds)
                self._end(NotReady(_HANGS), self._running)
