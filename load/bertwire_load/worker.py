"""One client process: measures what the parent asks for, over connections that stay open."""

import asyncio
import gc
import random
import selectors
import time
from collections.abc import Iterator, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from multiprocessing.connection import Connection

from bertwire_core.errors import UserError
from bertwire_load.arrivals import due_times
from bertwire_load.calls import Call, connect
from bertwire_load.config import LoadConfig
from bertwire_load.loops import closed_loop, open_loop
from bertwire_load.requests import Request, requests
from bertwire_load.tally import Part, Tally
from bertwire_load.texts import parse_lengths, recorded, synthetic

# Seconds that the first call may take; a model that has just been loaded may take several.
_FIRST_SECONDS = 30.0
_PROGRESS_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class Load:
    """How calls are sent: so many a second, or so many in flight."""

    rate: float | None = None
    concurrency: int | None = None

    def __str__(self) -> str:
        if self.rate is None:
            return f"{self.concurrency} in flight"
        return f"{self.rate:,.0f} calls/s" if self.rate >= 100 else f"{self.rate:.3g} calls/s"


@dataclass(frozen=True, slots=True)
class Job:
    """One measurement.

    Attributes:
        server: the number of the server's address.
        load: of all processes together.
        start: when the warm-up begins, on the system's monotonic clock, which all processes share.
        turn: measurements of different turns, or loads, have different arrivals and synthetic texts.
    """

    server: int
    load: Load
    start: float
    turn: int


@dataclass(frozen=True, slots=True)
class Ready:
    """The servers have answered a call."""


@dataclass(frozen=True, slots=True)
class Failed:
    """No load can be sent, for this reason."""

    reason: str


@dataclass(frozen=True, slots=True)
class Progress:
    """Answered and failed calls so far."""

    answered: int
    failed: int


class Stop:
    """Ends a measurement early."""


def work(connection: Connection, config: LoadConfig, texts: Sequence[str] | None, place: int) -> None:
    """Run a client process until the parent closes the connection.

    Args:
        connection: brings `Job` and `Stop`; takes `Ready` or `Failed`, then `Progress` and one `Part` a job.
        config: the settings.
        texts: recorded texts; None: synthetic ones.
        place: the number of this process, from 0 on.
    """
    # select's timeouts are exact to microseconds, those of epoll, asyncio's default, to a millisecond.
    with asyncio.Runner(loop_factory=lambda: asyncio.SelectorEventLoop(selectors.SelectSelector())) as runner:
        try:
            runner.run(_Worker(connection, config, texts, place).run())
        except BrokenPipeError:
            return  # the parent has gone


class _Worker:
    def __init__(self, connection: Connection, config: LoadConfig, texts: Sequence[str] | None, place: int) -> None:
        self._connection, self._config, self._texts, self._place = connection, config, texts, place
        self._jobs: asyncio.Queue[Job | None] = asyncio.Queue()
        self._running: asyncio.Task[None] | None = None

    async def run(self) -> None:
        loop = asyncio.get_running_loop()
        loop.add_reader(self._connection.fileno(), self._receive)
        async with AsyncExitStack() as stack:
            stack.callback(loop.remove_reader, self._connection.fileno())
            try:
                calls = [await self._connected(address, stack) for address in self._config.addresses]
            except UserError as error:
                self._connection.send(Failed(f"{error}{error.hint}"))
                return
            self._connection.send(Ready())
            # What is there now stays: a full collection would stop the client for no use.
            gc.freeze()
            while (job := await self._jobs.get()) is not None:
                self._connection.send(await self._measured(calls[job.server], job))

    def _receive(self) -> None:
        try:
            message = self._connection.recv()
        except EOFError:
            message = None
            asyncio.get_running_loop().remove_reader(self._connection.fileno())
        if isinstance(message, Job):
            self._jobs.put_nowait(message)
            return
        if self._running is not None:
            self._running.cancel()
        if message is None:
            self._jobs.put_nowait(None)

    async def _connected(self, address: str, stack: AsyncExitStack) -> Call:
        """Return a connection whose first call was answered; raise `UserError` where it fails."""
        generator = random.Random(f"{self._config.seed} first")  # noqa: S311 - no secret depends on it
        first = next(self._requests(generator))
        call = connect(address, self._config)
        stack.push_async_callback(call.close)
        try:
            # As many texts as the largest call has, which the server may refuse.
            await call.send(Request(first.texts[:1] * max(self._config.sizes.values), first.priority, _FIRST_SECONDS))
        except UserError as error:
            raise UserError(f"{address} does not answer the first call: {error}{error.hint}") from None
        return call

    def _requests(self, generator: random.Random) -> Iterator[Request]:
        config = self._config
        if self._texts is None:
            texts = synthetic(parse_lengths(config.words), generator)
        else:
            texts = recorded(self._texts, self._place / config.processes)
        return requests(texts, config.sizes, config.priorities, config.deadlines, generator)

    async def _measured(self, call: Call, job: Job) -> Part:
        loop, config = asyncio.get_running_loop(), self._config
        sizes, priorities = len(config.sizes.values), len(config.priorities.values)
        begin = job.start + config.warmup
        tally = Tally(begin, config.duration, by_size=sizes > 1, by_priority=priorities > 1)
        cpu = _Cpu(loop)
        marks = [loop.call_at(moment, cpu.mark) for moment in (tally.begin, tally.end)]
        self._running = asyncio.create_task(self._load(call, job, tally))
        # Not awaited: it is cancelled where the measurement is stopped.
        while not (await asyncio.wait({self._running}, timeout=_PROGRESS_SECONDS))[0]:
            self._connection.send(Progress(*tally.counts))
        for each in marks:
            each.cancel()
        if not self._running.cancelled():
            self._running.result()
        self._running = None
        self._connection.send(Progress(*tally.counts))
        return tally.part(loop.time(), cpu.share())

    async def _load(self, call: Call, job: Job, tally: Tally) -> None:
        config, processes = self._config, self._config.processes
        generator = random.Random(f"{config.seed} {job.turn} {job.load} {self._place}")  # noqa: S311 - as above
        if job.load.rate is not None:
            share, seconds = (self._place, processes), config.warmup + config.duration
            moments = due_times(config.arrivals, job.load.rate, job.start, seconds, share, generator)
            await open_loop(call, moments, self._requests(random.Random(generator.random())), tally)  # noqa: S311
            return
        assert job.load.concurrency is not None  # noqa: S101 - a load has one of both
        whole, more = divmod(job.load.concurrency, processes)
        await asyncio.sleep(job.start - asyncio.get_running_loop().time())
        await closed_loop(call, whole + (self._place < more), self._requests(generator), tally)


class _Cpu:
    """The share of a core that this process takes, all threads."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._marks: list[tuple[float, float]] = []

    def mark(self) -> None:
        self._marks.append((self._loop.time(), time.process_time()))

    def share(self) -> float:
        """Return CPU-seconds a second between the first mark and the second one, or now; 0 without a mark."""
        if len(self._marks) == 1:
            self.mark()
        if not self._marks:
            return 0.0
        (begin, before), (end, after) = self._marks[0], self._marks[-1]
        return (after - before) / max(end - begin, 1e-9)
