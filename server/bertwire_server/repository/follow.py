"""Takes changes over: when SIGHUP comes, and when the folder is seen to have changed."""

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
    """Reloads at SIGHUP and after changes of the source, without end.

    Args:
        fleet: what reloads; why one was refused stands in its log.
        source: what is looked at.
        seconds: how often; 0: only SIGHUP counts.
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
            continue  # the fleet has logged why
        except Exception:
            _log.exception("the models were not looked at")
