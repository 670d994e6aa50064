"""Closed loops: a fixed number of calls in flight, each followed by the next."""

import asyncio
from collections.abc import Iterator
from itertools import cycle
from time import perf_counter

from bench.calls import Caller, Calls, Target
from bench.figures import Figures, percentiles


async def closed(target: Target, in_flight: int, texts_each: int, most: int) -> Figures:
    """Return the server's CPU-milliseconds a text, texts a second and a call's milliseconds, every text sent once.

    Args:
        target: what is measured.
        in_flight: calls at once.
        texts_each: texts of a call.
        most: send the first so many texts.
    """
    requests = target.requests(texts_each, most)
    async with Caller(target.address) as caller:
        await _drain(caller, iter(requests[: 2 * in_flight]), in_flight)
        cpu_ms, start = target.cpu_ms(), perf_counter()
        calls = await _drain(caller, iter(requests), in_flight)
        seconds, cpu_ms = perf_counter() - start, target.cpu_ms() - cpu_ms
    texts = len(requests) * texts_each
    figures = {"cpu_ms_per_text": cpu_ms / texts, "texts_per_second": texts / seconds}
    return figures | percentiles(calls.all().seconds)


async def _drain(caller: Caller, requests: Iterator[bytes], in_flight: int) -> Calls:
    calls = Calls()

    async def work() -> None:
        for message in requests:
            await caller.must(message, calls)

    await asyncio.gather(*(work() for _ in range(in_flight)))
    return calls


async def steady(caller: Caller, requests: list[bytes], in_flight: int, until: float, calls: Calls) -> None:
    """Keep calls without a deadline in flight until the client's clock is at `until`."""
    messages = cycle(requests)

    async def work() -> None:
        while perf_counter() < until:
            await caller.must(next(messages), calls)

    await asyncio.gather(*(work() for _ in range(in_flight)))
