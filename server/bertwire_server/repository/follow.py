"""Reloads on SIGHUP and on changes of the folder."""

import asyncio
import logging
import signal
from contextlib import suppress

from bertwire_server.errors import ModelRefused
from bertwire_server.repository.changes import Changes
from bertwire_server.repository.fleet import Fleet
from bertwire_server.repository.folder import Source

_log = logging.getLogger(__name__)


async def follow(fleet: Fleet, source: Source, seconds: float) -> None:
    """Reload on SIGHUP and after changes of the source, until cancelled.

    Args:
        fleet: the fleet to reload; it logs refusals.
        source: the source to poll.
        seconds: poll interval; 0: only SIGHUP.
    """
    told = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, told.set)
    changes = await asyncio.to_thread(Changes, source.stamp) if seconds else None
    while True:
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds or None):
                await told.wait()
        by_hand = told.is_set()
        told.clear()
        if not by_hand and not (changes is not None and await asyncio.to_thread(changes.poll)):
            continue
        try:
            await fleet.reload(again=by_hand)
        except ModelRefused:
            continue  # logged by the fleet
        except Exception:
            _log.exception("the models were not looked at")
