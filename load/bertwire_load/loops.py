"""Open and closed loops of calls. All times are of the running event loop's clock."""

import asyncio
from collections.abc import Iterable, Iterator

from bertwire_client.errors import RequestError
from bertwire_load.calls import Call
from bertwire_load.requests import Request
from bertwire_load.tally import Tally

# Seconds after the end in which calls that were due before are still sent. Without them a client that is late by a
# millisecond at the end would count a call as not sent; with many more a client that is far behind would not end.
_LATE_SECONDS = 1.0


async def open_loop(call: Call, moments: Iterable[float], requests: Iterator[Request], tally: Tally) -> None:
    """Send a call at each moment, however many are unanswered, and return when all have ended.

    Latency counts from the moment at which a call was due: what waits for a slow server, or for the client itself, is
    counted as slow, and no call is left out because an earlier one is slow.
    """
    clock = asyncio.get_running_loop().time
    async with asyncio.TaskGroup() as group:
        for due in moments:
            if clock() > tally.end + _LATE_SECONDS:
                tally.unsent += due >= tally.begin
                continue
            # Made before the call is due: a call of many texts takes time to make.
            request = next(requests)
            # Lets answers be read even where the client is late.
            await asyncio.sleep(max(due - clock(), 0))
            group.create_task(_send(call, due, request, tally))
        # Rates are over the whole measurement, also where the last call is answered before its end.
        await asyncio.sleep(max(tally.end - clock(), 0))


async def closed_loop(call: Call, in_flight: int, requests: Iterator[Request], tally: Tally) -> None:
    """Keep so many calls in flight until the end of the measurement, and return when all have ended."""
    clock = asyncio.get_running_loop().time

    async def work() -> None:
        while (now := clock()) < tally.end:
            await _send(call, now, next(requests), tally)

    async with asyncio.TaskGroup() as group:
        for _ in range(in_flight):
            group.create_task(work())


async def _send(call: Call, due: float, request: Request, tally: Tally) -> None:
    clock = asyncio.get_running_loop().time
    code = None
    tally.sent(due, clock())
    try:
        await call.send(request)
    except RequestError as error:
        code = error.code.name
    tally.ended(due, clock(), request, code)
