"""Overload: calls come at a multiple of what the server can do, whether it answers or not."""

import asyncio
from time import perf_counter

import numpy as np

from bench.calls import Caller, Calls, Target
from bench.figures import MISSED, OK, REFUSED, Ended, Figures, overlap, percentiles
from bench.modes.closed import steady
from bench.modes.storm import RECOVERY_SECONDS, WARM_SECONDS
from bench.probe import Watched, watching
from bench.timeline import Timeline, timeline

CONNECTIONS = 4
REFUSAL_SECONDS = 0.020
# Each call may take as long as the server needs for so many texts: four of its full batches.
DEADLINE_TEXTS = 4 * 32
# From this part of the overload on its memory has to be what it will be.
_SETTLED = 0.1


async def overload(
    target: Target, in_flight: int, times: float, before: float, seconds: float, after: float
) -> tuple[Figures, Timeline]:
    """Goodput over capacity, what became of the answered and the refused, memory, and the speed afterwards.

    Args:
        target: what is measured.
        in_flight: callers of the closed loop before and after.
        times: calls a second over capacity.
        before: seconds in which capacity is measured, after a second that warms up.
        seconds: seconds of the overload.
        after: seconds measured once the overload is over by one second.
    """
    requests, calls = target.requests(), Calls()
    async with Caller(target.address, CONNECTIONS) as caller, watching(target.server) as watched:
        idle = perf_counter()
        await asyncio.sleep(WARM_SECONDS)
        first = perf_counter() + WARM_SECONDS
        await steady(caller, requests, in_flight, first + before, calls)
        capacity = calls.all().rate(first, first + before)
        begin, deadline = perf_counter(), DEADLINE_TEXTS / capacity
        end = begin + seconds
        last = asyncio.create_task(_open_loop(caller, requests, times * capacity, (begin, end), calls, deadline))
        await asyncio.sleep(seconds)
        recovered = perf_counter() + RECOVERY_SECONDS
        await steady(caller, requests, in_flight, recovered + after, calls)
        late = await last
    found = calls.all()
    during = found.begun_between(begin, end)
    figures: Figures = {
        "capacity": capacity,
        "deadline_ms": 1e3 * deadline,
        "offered": len(late) / seconds,
        "offered_over_capacity": len(late) / seconds / capacity,
        "goodput": found.rate(begin, end),
        "goodput_share": found.rate(begin, end) / capacity,
        "recovered_share": found.rate(recovered, recovered + after) / capacity,
        "memory_growth": watched.growth(begin, recovered + after),
        "memory_growth_once_settled": watched.growth(begin + _SETTLED * seconds, recovered + after),
    }
    # The last calls of the open loop were made before the end, those of the closed loop after it.
    figures |= _outcomes(during, deadline, watched)
    figures |= percentiles(np.array(late), "sent_late_")
    figures |= percentiles(watched.lag(idle, idle + WARM_SECONDS), "client_idle_lag_")
    figures |= percentiles(watched.lag(begin, end), "client_lag_")
    return figures, timeline(found, capacity, first, (begin, end))


async def _open_loop(
    caller: Caller, requests: list[bytes], rate: float, window: tuple[float, float], calls: Calls, deadline: float
) -> list[float]:
    """Calls at random moments, `rate` a second in the mean; returns how late each was made, in seconds."""
    begin, end = window
    generator = np.random.default_rng(0)
    gaps = generator.exponential(1 / rate, int(1.2 * rate * (end - begin)) + 100)
    moments = begin + np.cumsum(gaps)
    late: list[float] = []
    waiting: set[asyncio.Task[object]] = set()
    for place, due in enumerate(moments[moments < end].tolist()):
        # Gives the others their turn even where it is late itself.
        await asyncio.sleep(max(due - perf_counter(), 0))
        if perf_counter() >= end:
            break
        late.append(max(perf_counter() - due, 0))
        task = asyncio.create_task(caller.call(requests[place % len(requests)], calls, deadline))
        waiting.add(task)
        task.add_done_callback(waiting.discard)
    await asyncio.gather(*waiting)
    return late


def _outcomes(during: Ended, deadline: float, watched: Watched) -> Figures:
    answered, refused, missed = (during.of(code) for code in (OK, REFUSED, MISSED))
    # What the client stood still is its own, not the server's; both figures are given.
    own = answered.seconds - overlap(answered, watched.stalls)
    figures: Figures = {
        "answered": len(answered),
        "refused": len(refused),
        "missed": len(missed),
        "other": len(during) - len(answered) - len(refused) - len(missed),
        "missed_share": len(missed) / max(len(answered) + len(missed), 1),
        "in_time_share": float((own <= deadline).mean()) if len(own) else 0.0,
        "in_time_share_by_client_clock": float((answered.seconds <= deadline).mean()) if len(own) else 0.0,
    }
    if len(refused):
        own = refused.seconds - overlap(refused, watched.stalls)
        figures["refused_in_time_share"] = float((refused.seconds <= REFUSAL_SECONDS).mean())
        figures["refused_in_time_share_less_client_lag"] = float((own <= REFUSAL_SECONDS).mean())
        figures |= percentiles(refused.seconds, "refusal_") | percentiles(own, "refusal_less_client_lag_")
    return figures | percentiles(answered.seconds, "answer_")
