"""The messages of a call that wait to be sent."""

import asyncio
from collections import deque
from collections.abc import Callable
from threading import Lock
from typing import Any

from grpc._cython import cygrpc  # type: ignore[attr-defined]  # see docs/decisions/020

from bertwire_server.transport.operations import NO_FLAGS, Post, Start

# With it the core may keep a message until the next one goes out: one system call for several.
_MORE_FOLLOWS: int = cygrpc.WriteFlag.buffer_hint
# From so many bytes on, who wants to send more has to wait.
_ROOM = 65536


class Outbox:
    """Sends one message after another, without waking the event loop for each."""

    __slots__ = ("_begin", "_bytes", "_lock", "_loop", "_messages", "_post", "_sending", "_start", "_then", "_waiting")

    def __init__(
        self, loop: asyncio.AbstractEventLoop, post: Post, start: Start, begin: Callable[[], tuple[Any, ...]]
    ) -> None:
        """Begins empty.

        Args:
            loop: where messages are put in.
            post: has a function called on it.
            start: has the core do something.
            begin: gives the operations that have to come before a message.
        """
        self._loop, self._post, self._start, self._begin = loop, post, start, begin
        self._messages: deque[bytes] = deque()
        self._bytes = 0
        self._sending = False
        self._lock = Lock()
        self._waiting: asyncio.Future[None] | None = None
        self._then: Callable[[], None] | None = None

    async def put(self, content: bytes) -> None:
        """Takes a message in, once there is room for it; one at a time."""
        while self._bytes >= _ROOM:
            self._waiting = self._loop.create_future()
            try:
                await self._waiting
            finally:
                self._waiting = None
        with self._lock:
            self._messages.append(content)
            self._bytes += len(content)
            sending, self._sending = self._sending, True
        if not sending:
            # Not at once: what is put in until the loop comes around goes out with it.
            self._loop.call_soon(self._send)

    def when_sent(self, then: Callable[[], None]) -> None:
        """Calls a function when nothing is left, maybe now; to be asked once, after the last message."""
        with self._lock:
            if self._sending:
                self._then = then
                return
        then()

    def _send(self) -> None:
        with self._lock:
            self._send_next()
        if not self._sending:
            self._wake()

    def _send_next(self) -> None:
        content = self._messages.popleft()
        self._bytes -= len(content)
        begin = self._begin()
        # What begins a call has to go out, or it is never done.
        flags = _MORE_FOLLOWS if self._messages and not begin else NO_FLAGS
        if not self._start((*begin, cygrpc.SendMessageOperation(content, flags)), self._sent):
            self._messages.clear()
            self._bytes, self._sending = 0, False

    def _sent(self, _: Any) -> bool:  # noqa: ANN401 - the core's classes have no types
        """Called by the thread that waits for the core; also where nothing could be sent, since the caller is gone."""
        with self._lock:
            if self._messages:
                self._send_next()
            else:
                self._sending = False
            wanted = self._waiting is not None or (self._then is not None and not self._sending)
        if wanted:
            self._post(self._wake)
        return False

    def _wake(self) -> None:
        if self._waiting is not None and self._bytes < _ROOM and not self._waiting.done():
            self._waiting.set_result(None)
        if self._then is not None and not self._sending:
            then, self._then = self._then, None
            then()
