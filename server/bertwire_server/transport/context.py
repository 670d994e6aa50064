"""One RPC, from its headers to its status."""

import asyncio
import logging
from collections.abc import Iterable, Sequence
from time import time
from typing import Any

import grpc
from grpc._cython import cygrpc  # type: ignore[attr-defined]  # see docs/decisions/020

from bertwire_server.transport.inbox import Inbox
from bertwire_server.transport.operations import NO_FLAGS, ROOM, Done, Post
from bertwire_server.transport.outbox import Outbox

_log = logging.getLogger(__name__)
Metadata = Sequence[tuple[str, str | bytes]]
# All that a caller learns of a fault of the server.
INTERNAL_ERROR = "internal error; the server's log has the cause"
# The core says "never" with the largest number of seconds that it knows.
_NEVER = 1e12
_OK, _CANCELLED, _INTERNAL = (
    code.value[0] for code in (grpc.StatusCode.OK, grpc.StatusCode.CANCELLED, grpc.StatusCode.INTERNAL)
)


class Context:
    """A call as its handler sees it. All public methods belong to the thread of the event loop.

    Attributes:
        method: its full name, as `/bertwire.v1.Classifier/Classify`.
        loop: the event loop.

    States, each entered once: `_opened`, a task answers it; `_ended`, its status was given, and waits while
    messages are being sent; `_left`, the core has cancelled it. Of a call that was opened two events come last, in
    any order: the status is sent, the call is closed. `_one_end` notes the first; after both `_call` is None.
    """

    __slots__ = (
        "_begun",
        "_call",
        "_deadline",
        "_ended",
        "_inbox",
        "_left",
        "_metadata",
        "_one_end",
        "_opened",
        "_outbox",
        "_post",
        "_task",
        "loop",
        "method",
    )

    def __init__(self, event: Any, loop: asyncio.AbstractEventLoop, post: Post) -> None:  # noqa: ANN401 - the core's
        """Takes over a call that has arrived.

        Args:
            event: the core's `RequestCallEvent`.
            loop: the event loop; asking for the running one is a system call, before Python 3.12.
            post: has a function called on it, from any thread.
        """
        self._call, self.loop, self._post = event.call, loop, post
        self.method: str = event.call_details.method.decode("ascii", "replace")
        self._deadline: float = event.call_details.deadline
        self._metadata: Metadata = event.invocation_metadata
        self._begun = self._opened = self._one_end = self._left = self._ended = False
        self._task: asyncio.Task[None] | None = None
        # Most calls have no use for one of them or both.
        self._inbox: Inbox | None = None
        self._outbox: Outbox | None = None

    def invocation_metadata(self) -> Metadata:
        """What came with the call's headers; values of `-bin` keys are bytes."""
        return self._metadata

    def deadline(self) -> float:
        """When the caller stops waiting, in seconds since 1970; some 1e12 or more where it never does."""
        return self._deadline

    def time_remaining(self) -> float | None:
        """Seconds until the caller stops waiting, 0 at least; None where it never does."""
        return max(0.0, self._deadline - time()) if self._deadline < _NEVER else None

    def peer(self) -> str:
        """The address of the other end, with its port, as `ipv4:127.0.0.1:40000`; empty after the end."""
        call = self._call  # once: another thread may let go of it
        return "" if call is None else call.peer().decode("ascii", "replace")

    def peer_identities(self) -> Iterable[bytes] | None:
        """The names in the other end's certificate; None where it has shown none; not after the end."""
        return cygrpc.peer_identities(self._call)  # type: ignore[no-any-return]

    def set_code(self, code: grpc.StatusCode) -> None:
        """Does nothing: generated servicers say here what they then raise."""

    def set_details(self, details: str) -> None:
        """Does nothing; see `set_code`."""

    def open(self, task: asyncio.Task[None]) -> None:
        """Lets `task` answer the call: it is cancelled when the caller leaves or its deadline passes."""
        self._task, self._opened = task, True
        task.add_done_callback(self._abandoned)
        self._start((cygrpc.ReceiveCloseOnServerOperation(NO_FLAGS),), self._on_close)

    def receive(self) -> None:
        """Has the first message received, before anybody asks for it; may be called by any thread, once."""
        self._inbox = Inbox(self.loop, self._post, self._start)
        self._inbox.receive()

    def read_ahead(self) -> None:
        """Has messages received before they are asked for, a limited number of bytes; to be called before `read`."""
        if (inbox := self._inbox) is None:
            inbox = self._inbox = Inbox(self.loop, self._post, self._start)
        inbox.room = ROOM

    def read_no_further(self) -> bool:
        """Ends reading ahead; gives whether something has come that was not read: then `read` gives it at once."""
        if (inbox := self._inbox) is None:
            return False
        inbox.room = 0
        return inbox.has_any()

    async def read(self) -> bytes | None:
        """The next message; None after the last. One read at a time."""
        if (inbox := self._inbox) is None:
            inbox = self._inbox = Inbox(self.loop, self._post, self._start)
        content = await inbox.take()
        if content is None and self._left:
            raise asyncio.CancelledError  # which is also on its way
        return content

    async def write(self, content: bytes) -> None:
        """Sends a message, in order; waits while the other end, by the transport's flow control, takes no more."""
        if (outbox := self._outbox) is None:
            outbox = self._outbox = Outbox(self.loop, self._post, self._start, self._headers)
        await outbox.put(content)

    async def all_sent(self) -> None:
        """Returns when the transport has taken every message, or nobody is there any more to take it."""
        if (outbox := self._outbox) is not None and (sent := outbox.all_sent()) is not None:
            await sent

    def answer(self, content: bytes) -> None:
        """Ends the call with its only message and OK."""
        self._finish(cygrpc.SendMessageOperation(content, NO_FLAGS), _status(_OK, "", None))

    def end(self, code: int = _OK, message: str = "", trailing: Metadata | None = None) -> None:
        """Ends the call, after the messages that are on their way.

        Args:
            code: the status, as a number.
            message: what the caller is told.
            trailing: metadata that go with it.
        """
        self._finish(_status(code, message, trailing))

    def break_off(self, error: BaseException) -> None:
        """Ends the call for a fault of the server, which is logged."""
        _log.error("%s failed", self.method, exc_info=error)
        self.end(_INTERNAL, INTERNAL_ERROR)

    def _finish(self, *operations: Any) -> None:  # noqa: ANN401
        if self._ended:
            return
        self._ended = True
        sent = None if (outbox := self._outbox) is None else outbox.all_sent()
        if sent is None:
            self._send_last(operations)
        else:
            sent.add_done_callback(lambda _: self._send_last(operations))

    def _send_last(self, operations: tuple[Any, ...]) -> None:
        # A call that is refused at once has not been opened, and must be closed in the same go.
        closing = () if self._opened else (cygrpc.ReceiveCloseOnServerOperation(NO_FLAGS),)
        self._start((*self._headers(), *closing, *operations), self._on_ended)

    def _headers(self) -> tuple[Any, ...]:
        """The operation that begins what is sent, the first time."""
        if self._begun:
            return ()
        self._begun = True
        return (cygrpc.SendInitialMetadataOperation(None, NO_FLAGS),)

    def _start(self, operations: tuple[Any, ...], done: Done) -> bool:
        """Has the core do something; `done` holds this call, which so lives until then."""
        call = self._call  # once: another thread may let go of it
        if call is None:
            return False
        if error := call.start_server_batch(operations, done):
            _log.error("gRPC's core refused %s with error %s; taking the call for ended", operations, error)
            return False
        return True

    def _abandoned(self, task: asyncio.Task[None]) -> None:
        """Whatever becomes of the task, a caller who is still there is told something."""
        self._task = None
        if self._left and not self._ended:
            # The core has told the caller why, if anyone: the deadline has passed, or they hung up.
            self._ended = True
            self._let_go()
            return
        if not task.cancelled() and (error := task.exception()) is not None:
            self.break_off(error)
        self.end(_CANCELLED, "the call was given up")

    # What follows is called by the thread that waits for the core.

    def _on_close(self, event: Any) -> bool:  # noqa: ANN401
        if event.batch_operations[0].cancelled():
            self._post(self._leave)
        self._release()
        return False

    def _on_ended(self, _: Any) -> bool:  # noqa: ANN401
        self._release()
        return False

    def _release(self) -> None:
        """Lets go of the core's call, which keeps the connection alive, when both of its ends have come.

        Not left to this object's own end: exceptions keep their frames in cycles, and those keep it.
        """
        if self._one_end or not self._opened:
            self._let_go()
        self._one_end = True

    def _let_go(self) -> None:
        # The two hold this object in turn, and what has come and nobody reads.
        self._call = self._inbox = self._outbox = None

    # And these by the event loop again.

    def _leave(self) -> None:
        self._left = True
        if self._task is not None:
            # Once it has begun: a task that is cancelled before cannot clear up behind itself.
            self.loop.call_soon(self._task.cancel)


def _status(code: int, message: str, trailing: Metadata | None) -> Any:  # noqa: ANN401
    return cygrpc.SendStatusFromServerOperation(trailing, code, message.encode(), NO_FLAGS)
