"""Overload: calls come at a multiple of what the server can do, whether it answers or not."""

import asyncio
from time import perf_counter

import numpy as np

from bench.calls import Caller, Calls, Target
from bench.figures import MISSED, OK, REFUSED, Ended, Figures, overlap, percentiles
from bench.modes.closed import steady
from bench.probe import Watched, watching
from bench.timeline import Timeline, timeline

CONNECTIONS = 4
# Seconds before capacity is measured; at half of them the first batches' memory counts as growth.
WARM_SECONDS = 1.0
# Seconds after the overload until full speed is required; at half of them the last admitted calls are still running.
RECOVERY_SECONDS = 1.0


async def overload(
    target: Target, in_flight: int, times: float, deadline: float, before: float, seconds: float, after: float
) -> tuple[Figures, Timeline]:
    """Measure goodput, what becomes of admitted and refused calls, memory, and the speed afterwards.

    Args:
        target: what is measured.
        in_flight: callers of the closed loop before and after.
        times: calls a second over capacity.
        deadline: of each call in the overload, in seconds.
        before: seconds in which capacity is measured.
        seconds: seconds of the overload.
        after: seconds measured once the overload is over by one second.

    Returns:
        Figures, and the calls over time.
    """
    requests, calls = target.requests(), Calls()
    async with Caller(target.address, CONNECTIONS) as caller, watching(target.server) as watched:
        first = perf_counter() + WARM_SECONDS
        await steady(caller, requests, in_flight, first + before, calls)
        capacity = calls.all().rate(first, first + before)
        begin = perf_counter()
        end = begin + seconds
        sending = asyncio.create_task(_open_loop(caller, requests, times * capacity, (begin, end), calls, deadline))
        await asyncio.sleep(seconds)
        recovered = perf_counter() + RECOVERY_SECONDS
        await steady(caller, requests, in_flight, recovered + after, calls)
        await sending
    found = calls.all()
    # The last calls of the open loop are made before the end, those of the closed loop after it.
    during = found.begun_between(begin, end)
    goodput = found.rate(begin, end)
    figures: Figures = {
        "capacity": capacity,
        "offered": len(during) / seconds,
        "goodput": goodput,
        "goodput_share": goodput / capacity,
        "recovered_share": found.rate(recovered, recovered + after) / capacity,
        "memory_growth": watched.growth(begin, recovered + after),
    }
    figures |= _outcomes(during, watched) | percentiles(watched.lag(begin, end), "client_lag_")
    return figures, timeline(found, capacity, first, (begin, end))


async def _open_loop(
    caller: Caller, requests: list[bytes], rate: float, window: tuple[float, float], calls: Calls, deadline: float
) -> None:
    """Make calls at the moments of a Poisson process of `rate` a second, and wait until all have ended."""
    begin, end = window
    generator = np.random.default_rng(0)
    gaps = generator.exponential(1 / rate, int(1.2 * rate * (end - begin)) + 100)
    moments = begin + np.cumsum(gaps)
    async with asyncio.TaskGroup() as group:
        for place, due in enumerate(moments[moments < end].tolist()):
            # Gives the others their turn even where it is late itself.
            await asyncio.sleep(max(due - perf_counter(), 0))
            if perf_counter() >= end:
                break
            group.create_task(caller.call(requests[place % len(requests)], calls, deadline))


def _outcomes(during: Ended, watched: Watched) -> Figures:
    answered, refused, missed = (during.of(code) for code in (OK, REFUSED, MISSED))
    admitted = len(during) - len(refused)
    # What the client stood still is its own, not the server's. Where none is refused, none is late.
    own = refused.seconds - overlap(refused, watched.stalls) if len(refused) else np.zeros(1)
    figures: Figures = {
        "answered": len(answered),
        "refused": len(refused),
        "missed": len(missed),
        "other": admitted - len(answered) - len(missed),
        "late_share": 1 - len(answered) / max(admitted, 1),
    }
    return figures | percentiles(own, "refusal_") | percentiles(answered.seconds, "answer_")
