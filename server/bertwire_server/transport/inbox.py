"""The messages of a call that have come and were not read yet."""

import asyncio
from collections import deque
from threading import Lock
from typing import Any

from grpc._cython import cygrpc  # type: ignore[attr-defined]  # see docs/decisions/020

from bertwire_server.transport.operations import NO_FLAGS, Post, Start, size

# So many messages are taken before others on the event loop have their turn.
_IN_A_ROW = 16


class Inbox:
    """Receives while there is room, one message after another, without waking the event loop for each.

    The lock guards everything but `_waiting` and `_in_a_row`, which belong to the event loop.

    Attributes:
        room: bytes up to which further messages are received before anybody asks for them.
    """

    __slots__ = (
        "_bytes",
        "_ended",
        "_in_a_row",
        "_lock",
        "_loop",
        "_messages",
        "_post",
        "_receiving",
        "_start",
        "_waiting",
        "_wanted",
        "room",
    )

    def __init__(self, loop: asyncio.AbstractEventLoop, post: Post, start: Start, room: int = 0) -> None:
        """Begins empty, and receives nothing yet.

        Args:
            loop: where messages are taken.
            post: has a function called on it.
            start: has the core do something.
            room: see above; 0 for none.
        """
        self._loop, self._post, self._start, self.room = loop, post, start, room
        self._messages: deque[bytes | None] = deque()
        self._bytes = self._in_a_row = 0
        self._receiving = self._wanted = self._ended = False
        self._lock = Lock()
        self._waiting: asyncio.Future[None] | None = None

    def has_any(self) -> bool:
        """Whether `take` gives something at once."""
        with self._lock:
            return bool(self._messages)

    def receive(self) -> None:
        """Has the first message received, whether or not somebody asks for it."""
        with self._lock:
            self._receive()

    async def take(self) -> bytes | None:
        """The next message; None after the last, and where the caller has gone. One at a time."""
        self._in_a_row += 1
        if self._in_a_row > _IN_A_ROW:
            self._in_a_row = 1
            await asyncio.sleep(0)
        while True:
            with self._lock:
                if not self._messages:
                    self._receive()
                if self._messages:
                    content = self._messages.popleft()
                    self._bytes -= size(content)
                    if self._bytes < self.room:
                        self._receive()
                    return content
                self._wanted = True
            self._in_a_row = 0
            self._waiting = self._loop.create_future()
            try:
                await self._waiting
            finally:
                self._waiting = None

    def _receive(self) -> None:
        """Begins to receive a message, unless one is being received or the last one has come."""
        if self._receiving:
            return
        if self._ended or not self._start((cygrpc.ReceiveMessageOperation(NO_FLAGS),), self._received):
            self._add(None)
        else:
            self._receiving = True

    def _add(self, content: bytes | None) -> None:
        self._messages.append(content)
        self._bytes += size(content)
        self._ended = content is None

    def _received(self, event: Any) -> bool:  # noqa: ANN401 - the core's classes have no types
        """Called by the thread that waits for the core.

        What there is room for more beside, or what nobody waits for, can wait to be looked at.
        """
        content = event.batch_operations[0].message()
        with self._lock:
            self._receiving = False
            self._add(content)
            calm = not self._ended and self._bytes < self.room
            if calm:
                self._receive()
            wanted, self._wanted = self._wanted, False
        if wanted:
            self._post(self._wake)
        return calm or not wanted

    def _wake(self) -> None:
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_result(None)
