"""What is sampled beside the calls: the client's own lag, and the server's memory."""

import asyncio
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from time import perf_counter
from typing import Any

import numpy as np
import psutil

from bench.figures import Times

_LAG_SECONDS, _MEMORY_SECONDS = 0.005, 0.5


@dataclass
class Watched:
    """The samples.

    Attributes:
        stalls: when a timer of the client was due, and when it ran; seconds of its clock.
        memory: when, and the server's resident memory then, in bytes.
    """

    stalls: list[tuple[float, float]] = field(default_factory=list)
    memory: list[tuple[float, int]] = field(default_factory=list)

    def lag(self, first: float, last: float) -> Times:
        """Return how late the client's timers ran in that window, seconds, float64 [timers]."""
        return np.array([ran - due for due, ran in self.stalls if first <= due < last])

    def growth(self, first: float, last: float) -> float:
        """Return the server's memory at `last` over that at `first`, minus one; the latest samples until then."""
        at_first, at_last = (
            next((size for when, size in reversed(self.memory) if when <= moment), self.memory[0][1])
            for moment in (first, last)
        )
        return at_last / at_first - 1


@asynccontextmanager
async def watching(server: psutil.Process) -> AsyncIterator[Watched]:
    """Sample until the block ends."""
    watched = Watched()
    tasks = [asyncio.create_task(each) for each in (_lag(watched), _memory(watched, server))]
    try:
        yield watched
    finally:
        for task in tasks:
            await _end(task)


async def _end(task: "asyncio.Task[None]") -> None:
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task


@asynccontextmanager
async def beside(work: Coroutine[Any, Any, None]) -> AsyncIterator[None]:
    """Run `work` until the block ends, and cancel it then."""
    task = asyncio.create_task(work)
    try:
        yield
    finally:
        await _end(task)


async def _lag(watched: Watched) -> None:
    while True:
        due = perf_counter() + _LAG_SECONDS
        await asyncio.sleep(_LAG_SECONDS)
        watched.stalls.append((due, perf_counter()))


async def _memory(watched: Watched, server: psutil.Process) -> None:
    while True:
        watched.memory.append((perf_counter(), server.memory_info().rss))
        await asyncio.sleep(_MEMORY_SECONDS)
