"""The messages of a call that have come and were not read yet."""

import asyncio
from collections import deque
from threading import Lock
from typing import Any

from grpc._cython import cygrpc  # type: ignore[attr-defined]  # see docs/decisions/020

from bertwire_server.transport.operations import NO_FLAGS, Post, Start

# What a message takes besides its content.
_OBJECT_BYTES = 100


class Inbox:
    """Receives while there is room, one message after another, without waking the event loop for each."""

    __slots__ = (
        "_bytes",
        "_lock",
        "_loop",
        "_messages",
        "_post",
        "_posted",
        "_receiving",
        "_room",
        "_start",
        "_waiting",
    )

    def __init__(self, loop: asyncio.AbstractEventLoop, post: Post, start: Start, room: int) -> None:
        """Begins empty, and receives nothing yet.

        Args:
            loop: where messages are taken.
            post: has a function called on it.
            start: has the core do something.
            room: bytes up to which further messages are received before anybody asks for them; 0 for none.
        """
        self._loop, self._post, self._start, self._room = loop, post, start, room
        self._messages: deque[bytes | None] = deque()
        self._bytes = 0
        self._receiving = self._posted = False
        self._lock = Lock()
        self._waiting: asyncio.Future[None] | None = None

    async def take(self) -> bytes | None:
        """The next message; None after the last, and where the caller has gone. One at a time."""
        while True:
            with self._lock:
                if not self._messages and not self._receiving:
                    self._receive()
                if self._messages:
                    content = self._messages.popleft()
                    self._bytes -= _size(content)
                    if not self._receiving and self._has_room(content):
                        self._receive()
                    return content
            self._waiting = self._loop.create_future()
            try:
                await self._waiting
            finally:
                self._waiting = None

    def _has_room(self, last: bytes | None) -> bool:
        """Whether to receive a message after the last one that came; None is followed by nothing."""
        return last is not None and self._bytes < self._room

    def _receive(self) -> None:
        self._receiving = self._start((cygrpc.ReceiveMessageOperation(NO_FLAGS),), self._received)
        if not self._receiving:
            self._messages.append(None)

    def _received(self, event: Any) -> bool:  # noqa: ANN401 - the core's classes have no types
        """Called by the thread that waits for the core; a message beside which there is room for more can wait."""
        content = event.batch_operations[0].message()
        with self._lock:
            self._messages.append(content)
            self._bytes += _size(content)
            self._receiving = False
            calm = self._has_room(content)
            if calm:
                self._receive()
            posted, self._posted = self._posted, True
        if not posted:
            self._post(self._wake)
        return calm

    def _wake(self) -> None:
        with self._lock:
            self._posted = False
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_result(None)


def _size(content: bytes | None) -> int:
    return _OBJECT_BYTES + (0 if content is None else len(content))
