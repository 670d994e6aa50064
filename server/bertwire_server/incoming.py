"""Reading of a call's messages, which ends soon after a shutdown begins."""

import asyncio
from typing import Any

from bertwire_server.errors import InvalidRequest, NotReady
from bertwire_server.rpc import Context

_CLOSING = "the server is shutting down; send what is unanswered to another one"
# Seconds after closing in which messages are still read. Halved, calls on a slow network fail at a restart; doubled, an
# idle caller delays the exit by that.
LAST_MESSAGE_SECONDS = 1.0
# Seconds without a message after which a stream has none in transit, once the server is closing. Halved, messages on
# a network between continents are answered by another server instead; doubled, each idle stream ends that much later.
QUIET_SECONDS = 0.2
# Seconds for gRPC to report a disconnected caller after its message is missing. Halved, some disconnects count as
# invalid requests.
_GONE_SECONDS = 0.05


class Messages:
    """The messages of a call; after `close` only those already sent."""

    def __init__(self, context: Context, quiet_seconds: float) -> None:
        self._context, self._quiet_seconds = context, quiet_seconds
        self._end: float | None = None
        self._reader: asyncio.Task[Any] | None = None

    async def next(self) -> bytes | None:
        """Return the next message; None after the last. Raise `NotReady` once closed and no message arrives."""
        if self._end is not None:
            return await self._last(self._end)
        self._reader = asyncio.current_task()
        try:
            return _bytes(await self._context.read())
        except asyncio.CancelledError:
            if self._end is not None and self._reader is not None and not self._reader.uncancel():
                raise NotReady(_CLOSING) from None
            raise
        finally:
            self._reader = None

    async def only(self) -> bytes:
        """Return the first message, of a call that has one; raise `InvalidRequest` where there is none."""
        if (content := await self.next()) is None:
            await asyncio.sleep(_GONE_SECONDS)
            # gRPC does not always distinguish the two.
            raise InvalidRequest("the call has no message, or one that is too large when unpacked; send a smaller one")
        return content

    async def _last(self, end: float) -> bytes | None:
        try:
            async with asyncio.timeout_at(min(end, asyncio.get_running_loop().time() + self._quiet_seconds)):
                return _bytes(await self._context.read())
        except TimeoutError:
            raise NotReady(_CLOSING) from None

    def close(self) -> None:
        """Read only messages in transit: until the quiet time passes without one, at most LAST_MESSAGE_SECONDS."""
        loop = asyncio.get_running_loop()
        self._end = loop.time() + LAST_MESSAGE_SECONDS
        if (reader := self._reader) is not None:
            loop.call_later(self._quiet_seconds, lambda: self._reader is reader and reader.cancel())


def _bytes(message: object) -> bytes | None:
    """Return the message; None for gRPC's end-of-stream marker."""
    return message if isinstance(message, bytes) else None
