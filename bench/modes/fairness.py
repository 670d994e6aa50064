"""Fairness: what single calls lose where one call with many texts runs beside them."""

from time import perf_counter

from bench.calls import Caller, Calls, Target, request
from bench.figures import Figures, percentiles
from bench.modes.closed import steady
from bench.probe import beside

# Seconds between a change of the load and the window; at half of them the first calls of a connection count.
_SETTLE_SECONDS = 0.5


async def fairness(target: Target, callers: int, large_texts: int, seconds: float) -> Figures:
    """Return percentiles of single calls without and with a large call beside them, and the rise of their p99.

    Args:
        target: what is measured.
        callers: single calls in flight.
        large_texts: texts of the large call; it is made again at once.
        seconds: seconds of each of the two windows.
    """
    chosen = [target.texts[place % len(target.texts)] for place in range(large_texts)]
    large, requests = request(chosen).SerializeToString(), target.requests()

    async def window(caller: Caller, prefix: str) -> Figures:
        calls, begin = Calls(), perf_counter() + _SETTLE_SECONDS
        await steady(caller, requests, callers, begin + seconds, calls)
        # Those under way when it begins or ends count too: they are the slowest.
        return percentiles(calls.all().between(begin, perf_counter()).seconds, prefix)

    async def keep_calling(caller: Caller) -> None:
        while True:
            await caller.must(large, Calls())

    async with Caller(target.address) as single, Caller(target.address) as other:
        figures = await window(single, "alone_")
        async with beside(keep_calling(other)):
            figures |= await window(single, "beside_")
    return figures | {"p99_rise_ms": figures["beside_p99_ms"] - figures["alone_p99_ms"]}
