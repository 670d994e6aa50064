"""Forms batches across calls. Knows nothing of gRPC, text or arrays.

Texts wait in one bounded queue in order of arrival. As soon as the model is free, the front of the queue becomes a
batch, up to a number of texts and a budget of tokens; a batch that is not full waits a short while for more texts.
Each waiting text holds its own future, so whatever becomes of a batch, every caller is answered.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from time import perf_counter

import numpy as np
from numpy.typing import NDArray

from bertwire_export.bundle.layouts import Layout
from bertwire_server.errors import ModelFailed, NotReady, Overloaded
from bertwire_server.model.tokenizer import Encoded

_log = logging.getLogger(__name__)
_STOPPED = "the server is shutting down; send the request to another one"
# The queue is cleared of texts whose callers have gone when they are more than the others and this many.
_GONE_KEPT = 64

# Texts in, the logits of each, float32 [labels], out; blocking, called in a thread of the scheduler's own.
Run = Callable[[Sequence[Encoded]], Sequence[NDArray[np.float32]]]


@dataclass(frozen=True, slots=True)
class BatchLimits:
    """What a batch and the queue may hold.

    Attributes:
        tokens: most tokens that a batch computes; one text may exceed it alone.
        texts: most texts of a batch.
        delay: longest wait for a fuller batch, in seconds from the arrival of its oldest text.
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
        logits: float32 [labels].
        queue_seconds: wait from arrival to the start of the run.
        run_seconds: the run of its batch.
    """

    logits: NDArray[np.float32]
    queue_seconds: float
    run_seconds: float


@dataclass(slots=True)
class Totals:
    """What has been run so far.

    Attributes:
        batches: batches.
        texts: texts in them.
        tokens: the texts' own tokens.
        computed: tokens computed, padding included.
    """

    batches: int = 0
    texts: int = 0
    tokens: int = 0
    computed: int = 0

    def add(self, lengths: Sequence[int], computed: int) -> None:
        """Counts a batch of texts with these lengths."""
        self.batches += 1
        self.texts += len(lengths)
        self.tokens += sum(lengths)
        self.computed += computed


@dataclass(slots=True)
class _Item:
    text: Encoded
    place: int  # among the texts of its call
    future: asyncio.Future[Answer]
    arrived: float = field(default_factory=perf_counter)
    taken: bool = False


class Scheduler:
    """The queue in front of one model. All methods belong to one event loop.

    Attributes:
        totals: what has been run so far.
        ended: set when it runs no batches any more: after `stop`, or for a fault of its own, which is logged.
    """

    def __init__(self, run: Run, limits: BatchLimits, layout: Layout) -> None:
        """Starts nothing yet; see `start`.

        Args:
            run: runs a batch.
            limits: what a batch and the queue may hold.
            layout: says how many tokens a batch computes.
        """
        self.totals = Totals()
        self.ended = asyncio.Event()
        self._run, self._limits, self._layout = run, limits, layout
        self._queue: deque[_Item] = deque()
        self._batch: list[_Item] = []  # the last one taken
        self._waiting = 0
        self._stopping = False
        self._changed = asyncio.Event()
        self._thread = ThreadPoolExecutor(1, "model")
        self._worker: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begins to run batches."""
        self._worker = asyncio.create_task(self._work(), name="scheduler")

    async def stop(self) -> None:
        """Ends after the batch under way; texts still waiting fail with `NotReady`."""
        self._stopping = True
        if self._worker is not None:
            self._worker.cancel()
            await asyncio.wait([self._worker])
        await asyncio.to_thread(self._thread.shutdown)

    async def submit(self, texts: Sequence[Encoded]) -> list[Answer]:
        """Queues the texts of a call and waits for all of their answers, in order.

        A cancelled call leaves the queue; its texts are not run unless their batch is under way.

        Raises:
            Overloaded: the queue has no room for them.
            ModelFailed: the run of a batch raised, or gave one of the texts no finite numbers.
            NotReady: the scheduler ended, or was never started.
        """
        if self._worker is None or self._stopping or self.ended.is_set():
            raise NotReady(_STOPPED)
        self.require_room(len(texts))
        loop = asyncio.get_running_loop()
        items = [_Item(text, place, loop.create_future()) for place, text in enumerate(texts)]
        self._queue.extend(items)
        self._waiting += len(items)
        self._changed.set()
        try:
            return await asyncio.gather(*(item.future for item in items))
        finally:
            self._forget(items)

    def require_room(self, texts: int) -> None:
        """Raises `Overloaded` where the queue has no room for so many texts."""
        if self._waiting + texts > self._limits.waiting:
            raise Overloaded(f"{self._waiting} texts are waiting already; slow down and try again")

    def _forget(self, items: list[_Item]) -> None:
        """Takes a finished call's texts out of the count; those left in the queue are skipped when they come up."""
        for item in items:
            item.future.cancel()
            if not item.taken:
                item.taken = True
                self._waiting -= 1
        # Behind a long run, calls that come and go would fill it without end.
        if len(self._queue) > 2 * self._waiting + _GONE_KEPT:
            self._queue = deque(item for item in self._queue if not item.taken)

    async def _work(self) -> None:
        try:
            while not self._stopping:
                await self._wait_for_batch()
                if batch := self._take():
                    await self._run_batch(batch)
        except Exception:
            _log.exception("the scheduler failed; no text is answered any more")
        finally:
            self.ended.set()
            for item in (*self._batch, *self._queue):
                _fail(item, NotReady(_STOPPED))

    async def _wait_for_batch(self) -> None:
        """Returns when a full batch is waiting, or one whose oldest text has waited long enough."""
        while not self._queue:
            await self._next_change(None)
        while not self._is_full():
            left = self._queue[0].arrived + self._limits.delay - perf_counter()
            if left <= 0:
                return
            await self._next_change(left)

    async def _next_change(self, seconds: float | None) -> None:
        self._changed.clear()
        # Not wait_for, which before Python 3.12 can lose the cancellation that `stop` sends.
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._changed.wait()

    def _is_full(self) -> bool:
        return self._waiting >= self._limits.texts or self._front() < self._waiting

    def _front(self) -> int:
        """How many live texts at the front of the queue fit one batch."""
        count = longest = total = 0
        for item in self._queue:
            if item.taken:
                continue
            length = len(item.text.ids)
            longest, total = max(longest, length), total + length
            computed = self._layout.computed(count + 1, longest, total)
            if (count and computed > self._limits.tokens) or count == self._limits.texts:
                break
            count += 1
        return count

    def _take(self) -> list[_Item]:
        """Removes the next batch from the queue, together with the texts whose callers have gone."""
        wanted = self._front()
        batch = self._batch = []
        while self._queue and len(batch) < wanted:
            item = self._queue.popleft()
            if not item.taken:
                item.taken = True
                batch.append(item)
        if not wanted:
            self._queue.clear()
        self._waiting -= len(batch)
        return batch

    async def _run_batch(self, batch: list[_Item]) -> None:
        loop = asyncio.get_running_loop()
        texts = [item.text for item in batch]
        lengths = [len(text.ids) for text in texts]
        self.totals.add(lengths, self._layout.computed(len(texts), max(lengths), sum(lengths)))
        start = perf_counter()
        try:
            logits = await loop.run_in_executor(self._thread, self._run, texts)
            rows = [(item, row, bool(np.isfinite(row).all())) for item, row in zip(batch, logits, strict=True)]
        except Exception:
            _log.exception("a batch of %d texts failed", len(batch))
            for item in batch:
                _fail(item, ModelFailed("the model failed on this batch; the server's log has the cause"))
            return
        seconds = perf_counter() - start
        for item, row, finite in rows:
            if not finite:
                _fail(item, ModelFailed(f"the model gives no finite numbers for texts[{item.place}]"))
            elif not item.future.done():
                item.future.set_result(Answer(row, start - item.arrived, seconds))


def _fail(item: _Item, error: Exception) -> None:
    if not item.future.done():
        item.future.set_exception(error)
