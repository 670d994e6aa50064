"""Fairness: what single calls lose where one call with many texts runs beside them."""

import asyncio
from itertools import cycle
from time import perf_counter

import numpy as np

from bench.calls import Caller, Calls, Target, request
from bench.figures import Figures, percentiles
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

    async def keep_calling(caller: Caller, messages: list[bytes], noted: Calls) -> None:
        for message in cycle(messages):
            await caller.must(message, noted)

    async def singles(caller: Caller) -> None:
        requests = target.requests()
        # Each begins elsewhere, so that they do not all send the same text at once.
        starts = [place * len(requests) // callers for place in range(callers)]
        await asyncio.gather(*(keep_calling(caller, requests[at:] + requests[:at], calls) for at in starts))

    async def window() -> tuple[float, float]:
        await asyncio.sleep(_SETTLE_SECONDS)
        begin = perf_counter()
        await asyncio.sleep(seconds)
        return begin, begin + seconds

    async with Caller(target.address) as single, Caller(target.address) as other, beside(singles(single)):
        for _ in range(rounds):
            without.append(await window())
            async with beside(keep_calling(other, [large], large_calls)):
                beside_large.append(await window())
    found = calls.all()
    figures: Figures = {"large_calls": len(large_calls.all())}
    for name, windows in (("without", without), ("with", beside_large)):
        pooled = np.concatenate([found.begun_between(*each).seconds for each in windows])
        figures |= percentiles(pooled, f"{name}_")
    return figures | {"p99_rise_ms": figures["with_p99_ms"] - figures["without_p99_ms"]}
