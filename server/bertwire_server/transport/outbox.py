"""The messages of a call that wait to be sent."""

import asyncio
from collections import deque
from collections.abc import Callable
from threading import Lock
from typing import Any

from grpc._cython import cygrpc  # type: ignore[attr-defined]  # see docs/decisions/020

from bertwire_server.transport.operations import NO_FLAGS, ROOM, Post, Start, size

# With it the core may keep a message until the next one goes out: one system call for several.
_MORE_FOLLOWS: int = cygrpc.WriteFlag.buffer_hint


class Outbox:
    """Sends one message after another, without waking the event loop for each. The lock guards all that changes."""

    __slots__ = ("_begin", "_bytes", "_lock", "_loop", "_messages", "_post", "_sending", "_start", "_waiting")

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
        # Who waits, each until there are fewer bytes than it wants.
        self._waiting: list[tuple[int, asyncio.Future[None]]] = []

    async def put(self, content: bytes) -> None:
        """Takes a message in, once there is room for it; one at a time."""
        while (waiting := self._wait_for(ROOM)) is not None:
            await waiting
        with self._lock:
            self._messages.append(content)
            self._bytes += size(content)
            sending, self._sending = self._sending, True
        if not sending:
            # Not at once: what is put in until the loop comes around goes out with it.
            self._loop.call_soon(self._send)

    def all_sent(self) -> asyncio.Future[None] | None:
        """Done when nothing is left to be sent, or nobody to send it to; None where that is so already."""
        return self._wait_for(1)

    def _wait_for(self, fewer: int) -> asyncio.Future[None] | None:
        """Done when fewer bytes than these wait or are being sent; None where it is so already."""
        with self._lock:
            if self._bytes < fewer:
                return None
            future: asyncio.Future[None] = self._loop.create_future()
            self._waiting.append((fewer, future))
            return future

    def _send(self) -> None:
        with self._lock:
            self._send_next()
        self._wake()

    def _send_next(self) -> None:
        """Begins to send the first message; the bytes of one that is being sent count until it has been."""
        begin = self._begin()
        # What begins a call has to go out, or it is never done.
        flags = _MORE_FOLLOWS if len(self._messages) > 1 and not begin else NO_FLAGS
        if not self._start((*begin, cygrpc.SendMessageOperation(self._messages[0], flags)), self._sent):
            self._messages.clear()
            self._bytes, self._sending = 0, False

    def _sent(self, _: Any) -> bool:  # noqa: ANN401 - the core's classes have no types
        """Called by the thread that waits for the core; also where nothing could be sent, since the caller is gone."""
        with self._lock:
            self._bytes -= size(self._messages.popleft())
            if self._messages:
                self._send_next()
            else:
                self._sending = False
            wanted = bool(self._waiting)
        if wanted:
            self._post(self._wake)
        return False

    def _wake(self) -> None:
        with self._lock:
            due = [future for fewer, future in self._waiting if self._bytes < fewer]
            self._waiting = [each for each in self._waiting if self._bytes >= each[0]]
        for future in due:
            if not future.done():
                future.set_result(None)
