"""Callers who leave while they wait: what the server runs for them shows when it stops and says what it has run."""

import asyncio
from time import perf_counter

from bench.calls import Caller, Calls, Target
from bench.figures import OK, Figures
from bench.modes.closed import steady

# What has been answered with the first answer, in the same batch, has arrived by then.
_ARRIVED_SECONDS = 0.01
# Callers leave twice: once they cancel, once their deadline passes.
BURSTS = 2


async def gone(target: Target, callers: int, in_flight: int, before: float) -> Figures:
    """The calls answered in all.

    Args:
        target: what is measured.
        callers: calls made at once; all cancel at the first answer, and later all have a deadline in the midst.
        in_flight: callers of the closed loop that comes first.
        before: seconds in which it measures capacity.
    """
    requests, calls = target.requests(), Calls()
    burst = [requests[place % len(requests)] for place in range(callers)]
    async with Caller(target.address) as caller:
        start = perf_counter()
        await steady(caller, requests, in_flight, start + before, calls)
        half = callers / 2 / calls.all().rate(start, start + before)
        tasks = [asyncio.create_task(caller.call(each, calls)) for each in burst]
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        await asyncio.sleep(_ARRIVED_SECONDS)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        # A call in a batch of its own tells that the cancelled batch has ended.
        await caller.must(burst[0], calls)
        await asyncio.gather(*(caller.call(each, calls, half) for each in burst))
    return {"answered": len(calls.all().of(OK)), "callers": BURSTS * callers}
