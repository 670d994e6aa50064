"""Scheduling of a model's batches on a thread of its own, independent of gRPC.

The thread takes a batch from the queue, runs it and delivers its results in one callback on the event loop. Each call
has one future, so that every call is answered whatever happens to a batch.
"""

import asyncio
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from math import inf
from time import perf_counter
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from bertwire_runtime.layouts import Layout
from bertwire_runtime.tokenizer import Encoded
from bertwire_server.errors import CLOCK_SECONDS, Expired, ModelFailed, NotReady
from bertwire_server.model.admission import Admission
from bertwire_server.model.observer import Observer, Ran
from bertwire_server.model.pace import Pace
from bertwire_server.model.queue import Batch, Queue, Result, Waiting
from bertwire_server.query import Priority
from bertwire_server.threads import worker

_log = logging.getLogger(__name__)
_STOPPED = "the model is being shut down; send the request again, here or to another server"
_HANGS = "the model does not answer any more; send the request to another server"
_FAILED = "the model failed on texts[{}]; the server's log has the cause"
_NOT_FINITE = "the model gives no finite numbers for texts[{}]"
_TOO_LATE = "the deadline passed before the answer was ready"
# Checks for a hung run per `hang_seconds`.
_HANG_CHECKS = 4

T = TypeVar("T")
Logits = NDArray[np.float32]
# Runs one batch, blocking: float32 [labels] or [tokens, labels] per text.
Run = Callable[[Sequence[Encoded]], Sequence[Logits]]


@dataclass(slots=True)
class Totals:
    """Counts of runs so far.

    Attributes:
        tokens: tokens without padding.
        computed: computed tokens, padding included.
        by_size: by number of texts, the count of batches and their seconds.
    """

    batches: int = 0
    texts: int = 0
    tokens: int = 0
    computed: int = 0
    by_size: dict[int, tuple[int, float]] = field(default_factory=dict)

    def add(self, lengths: Sequence[int], computed: int, seconds: float) -> None:
        """Count a batch of texts with these lengths."""
        self.batches += 1
        self.texts += len(lengths)
        self.tokens += sum(lengths)
        self.computed += computed
        count, before = self.by_size.get(len(lengths), (0, 0.0))
        self.by_size[len(lengths)] = (count + 1, before + seconds)


@dataclass(frozen=True, slots=True)
class _Outcome:
    """A finished batch; `rows` has each text's logits or error."""

    batch: Batch
    start: float
    seconds: float
    rows: list[Logits | Exception]


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
        self._run, self._layout, self._pace = run, layout, pace
        self._observer, self._hang_seconds = observer, hang_seconds
        self._queue = Queue(layout, pace, most_texts)
        self._admission = Admission(self._queue, pace, room, observer)
        self._executor = worker("model", niceness)
        # Seconds of finished runs and start of the current one, in one value because other threads read it.
        self._busy: tuple[float, float | None] = (0.0, None)
        self._running: Batch | None = None
        self._ended_at = -inf
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
        ended, since = self._busy
        return ended if since is None else ended + perf_counter() - since

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
        self, texts: Sequence[Encoded], priority: Priority = Priority.NORMAL, deadline: float = inf
    ) -> list[Result]:
        """Queue a call's texts and wait for their results, in order.

        A cancelled call leaves the queue; texts of a running batch run to its end.

        Raises:
            Expired: the deadline has passed or cannot be met.
            ModelFailed: a text's run raised, or its logits are not finite.
            NotReady: the scheduler has ended.
        """
        loop = self._require_running()
        call = Waiting(texts, priority, deadline, perf_counter(), loop.create_future())
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
                self._loop.call_soon_threadsafe(self._deliver, self._run_batch(batch))
        except BaseException as error:
            _log.critical("the scheduler failed; no text is answered any more", exc_info=error)
            self._loop.call_soon_threadsafe(self._end, NotReady(_STOPPED), self._running)

    def _run_batch(self, batch: Batch) -> _Outcome:
        start = perf_counter()
        if not batch.members:
            return _Outcome(batch, start, 0.0, [])
        computed = self._computed(batch)
        self._admission.until = start + self._pace.seconds(computed)
        rows = self._rows(batch.texts)
        self._admission.until = 0.0
        end = perf_counter()
        seconds = end - start
        # From the end of the last batch, where this one has waited for that: threads share the core.
        self._pace.add(computed, end - max(self._ended_at, min(call.arrived for call, _ in batch.members)))
        self._ended_at = end
        return _Outcome(batch, start, seconds, rows)

    def _rows(self, texts: list[Encoded]) -> list[Logits | Exception]:
        """Run texts; on failure bisect them until a failing text is alone."""
        start = perf_counter()
        self._busy = (self._busy[0], start)
        try:
            rows = list[Logits | Exception](self._run(texts))
            if len(rows) != len(texts):
                raise ValueError(f"the model gave {len(rows)} rows of logits for {len(texts)} texts")
            return rows
        except Exception as error:
            if len(texts) == 1:
                _log.exception("the model failed on a text of %d tokens", len(texts[0].ids))
                return [error]
            _log.warning("a batch of %d texts failed (%s); running its halves", len(texts), type(error).__name__)
        finally:
            self._busy = (self._busy[0] + perf_counter() - start, None)
        middle = (len(texts) + 1) // 2
        return self._rows(texts[:middle]) + self._rows(texts[middle:])

    # Event loop.

    def _deliver(self, ran: _Outcome) -> None:
        batch = ran.batch
        for call, texts in batch.expired:
            self._observer.expired(texts)
            call.fail(Expired(_TOO_LATE))
        if not batch.members:
            return
        lengths, computed = [len(text.ids) for text in batch.texts], self._computed(batch)
        self.totals.add(lengths, computed, ran.seconds)
        waits = [ran.start - call.arrived for call, _ in batch.members]
        self._observer.ran(Ran(lengths, computed, waits, ran.seconds))
        for (call, place), row, wait in zip(batch.members, ran.rows, waits, strict=True):
            if isinstance(row, Exception):
                call.fail(ModelFailed(_FAILED.format(place)))
            elif np.isfinite(row).all():
                call.settle(place, Result(row, wait, ran.seconds))
            else:
                call.fail(ModelFailed(_NOT_FINITE.format(place)))

    def _computed(self, batch: Batch) -> int:
        return self._layout.computed(len(batch.members), batch.longest, batch.tokens)

    async def _watch(self) -> None:
        """End the scheduler where a run hangs."""
        while not self.ended.is_set():
            await asyncio.sleep(self._hang_seconds / _HANG_CHECKS)
            since = self._busy[1]
            if since is not None and perf_counter() - since > self._hang_seconds:
                seconds = self._hang_seconds
                _log.critical("a batch has not ended for %.0f s; no text is answered any more", seconds)
                self._end(NotReady(_HANGS), self._running)
