"""Fairness: what single calls lose where one call with many texts runs beside them."""

import asyncio
from time import perf_counter

import numpy as np

from bench.calls import Caller, Calls, Target, request
from bench.figures import Figures, percentiles
from bench.modes.closed import steady
from bench.probe import beside

# Before a window begins, what was changed has taken hold.
_SETTLE_SECONDS = 0.5


async def fairness(target: Target, callers: int, large_texts: int, seconds: float, rounds: int) -> Figures:
    """Percentiles of single calls without and with a large call beside them, in turn.

    Args:
        target: what is measured.
        callers: single calls at once, each made again at once.
        large_texts: texts of the large call; there is always one, or none.
        seconds: seconds of each window.
        rounds: windows of each kind.
    """
    chosen = [target.texts[place % len(target.texts)] for place in range(large_texts)]
    large = request(chosen).SerializeToString()
    calls, large_calls = Calls(), Calls()
    without, beside_large = [], []

    async def keep_calling(caller: Caller) -> None:
        while True:
            await caller.must(large, large_calls)

    async def window() -> tuple[float, float]:
        await asyncio.sleep(_SETTLE_SECONDS)
        begin = perf_counter()
        await asyncio.sleep(seconds)
        return begin, begin + seconds

    async with Caller(target.address) as single, Caller(target.address) as other:
        until = perf_counter() + 2 * rounds * (seconds + 2 * _SETTLE_SECONDS)
        singles = asyncio.create_task(steady(single, target.requests(), callers, until, calls))
        for _ in range(rounds):
            without.append(await window())
            async with beside(keep_calling(other)):
                beside_large.append(await window())
        await singles
    found = calls.all()
    figures: Figures = {"large_calls": len(large_calls.all())}
    for name, windows in (("without", without), ("with", beside_large)):
        pooled = np.concatenate([found.begun_between(*each).seconds for each in windows])
        figures |= percentiles(pooled, f"{name}_")
    return figures | {"p99_rise_ms": figures["with_p99_ms"] - figures["without_p99_ms"]}
