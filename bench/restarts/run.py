"""One run: load by one or several ways, and restarts under it."""

import asyncio
from collections.abc import Sequence
from contextlib import AsyncExitStack
from pathlib import Path

from bench.restarts.load import Found, Rates, load
from bench.restarts.servers import pair
from bench.restarts.ways import opened

# Between two restarts: clients and proxies find the server that is back, as in a rollout that waits for each.
_PAUSE_SECONDS = 3.0


async def restarted(
    bundle: Path,
    ways: Sequence[str],
    texts: Sequence[str],
    folder: Path,
    *,
    restarts: int,
    rates: Rates,
    options: Sequence[str],
    pause: float = _PAUSE_SECONDS,
) -> dict[str, Found]:
    """What the callers of two servers found while these were restarted in turn, by way.

    Args:
        bundle: what is served.
        ways: how the servers are called, each with the whole load.
        texts: what is sent.
        folder: for what proxies write.
        restarts: how many.
        rates: how much is sent.
        options: of the servers.
        pause: seconds before each restart and after the last.

    Raises:
        UserError: a server or proxy did not start, or a server did not end with status 0.
    """
    async with pair(bundle, options) as servers, AsyncExitStack() as stack:
        ports = [each.port for each in servers]
        addresses = {way: await stack.enter_async_context(opened(way, ports, folder)) for way in ways}
        over = asyncio.Event()
        loads = {way: asyncio.create_task(load(each, texts, rates, over)) for way, each in addresses.items()}
        try:
            for turn in range(restarts):
                await asyncio.sleep(pause)
                await servers[turn % 2].restart()
            await asyncio.sleep(pause)
            over.set()
            return {way: await each for way, each in loads.items()}
        finally:
            for each in loads.values():
                each.cancel()
