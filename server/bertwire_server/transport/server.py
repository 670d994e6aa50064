"""The gRPC server: ports, methods, and the thread that waits for gRPC's core on behalf of the event loop."""

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Coroutine, Sequence
from contextlib import suppress
from threading import Lock, Thread
from time import monotonic, sleep
from typing import Any, TypeVar

import grpc
from grpc._cython import cygrpc  # type: ignore[attr-defined]  # see docs/decisions/020

from bertwire_server.transport.context import Context

T = TypeVar("T")
Handler = Callable[[Context], Coroutine[Any, Any, None] | None]

_log = logging.getLogger(__name__)
_UNIMPLEMENTED: int = grpc.StatusCode.UNIMPLEMENTED.value[0]
# The tags of events that belong to no call; a call's are methods of it.
_ARRIVED, _STOPPED = "arrived", "stopped"
_AT_ONCE = 0.0
# Handling one event may bring the next: after so many the loop is woken all the same.
_AT_A_TIME = 256
# Calls that are asked for at a time. What has come beyond these the core cancels when it is shut down, so they are more
# than come in the 12 ms for which the thread may let arrivals gather, at 20,000 a second.
_ASKED_FOR = 256
# How long calls that have been cancelled may take to end.
_CANCEL_SECONDS = 5.0
# For so long after a call that was ended at its headers no message is received before somebody asks for it.
_UNREAD_SECONDS = 1.0


def _none() -> float:
    return 0.0


def _all_of(row: deque[T]) -> list[T]:
    """Takes out what is there now; another thread may go on to add."""
    return [row.popleft() for _ in range(len(row))]


class Server:
    """Answers calls on one event loop.

    A thread waits for the core. It does nothing with what has happened but to put it into a row, which the event loop
    goes through whenever it comes around: one waking for all that has come by then. Where there is no hurry the thread
    lets arrivals gather before it wakes the loop, which looks at those first that have the most time left: where not
    all can be answered, the others would be too late for anyone.
    """

    def __init__(self, options: Sequence[tuple[str, int]], patience: Callable[[], float] = _none) -> None:
        """Belongs to the running event loop; not started yet.

        Args:
            options: gRPC's channel arguments.
            patience: for how many seconds what arrives may wait to be looked at; called by another thread.
        """
        self._core, self._queue = cygrpc.Server(tuple(options), False), cygrpc.CompletionQueue()
        self._core.register_completion_queue(self._queue)
        self._patience = patience
        self._handlers: dict[str, Handler] = {}
        self._row: deque[tuple[Callable[..., None], tuple[Any, ...]]] = deque()
        self._arrivals: deque[Context] = deque()
        self._unread_until = 0.0
        self._woken = self._closing = self._over = False
        # Calls that the core still owes; the lock guards it and `_closing`.
        self._asked_for = _ASKED_FOR
        self._lock = Lock()
        self._loop, self._started = asyncio.get_running_loop(), False
        self._thread = Thread(target=self._wait, name="grpc", daemon=True)
        self._all_arrived, self._stopped = asyncio.Event(), asyncio.Event()

    def add(self, method: str, handler: Handler) -> None:
        """Has a method answered.

        Args:
            method: its full name, as `/bertwire.v1.Classifier/Classify`.
            handler: called when the headers of a call have come; gives what answers the call, to be run in a task of
                its own, or None where it has ended the call.
        """
        self._handlers[method] = handler

    def add_port(self, address: str, credentials: grpc.ServerCredentials | None) -> int:
        """Listens; gives the port, which was chosen where 0 was asked for, and 0 where it cannot be had."""
        where = address.encode()
        if credentials is None:
            return self._core.add_http2_port(where)  # type: ignore[no-any-return]
        return self._core.add_http2_port(where, credentials._credentials)  # type: ignore[attr-defined,no-any-return]

    def start(self) -> None:
        """Accepts calls from now on, for the running event loop."""
        self._started = True
        self._core.start()
        for _ in range(_ASKED_FOR):
            self._core.request_call(self._queue, self._queue, _ARRIVED)
        self._thread.start()

    async def close(self) -> None:
        """Closes the ports and has clients go elsewhere (GOAWAY); returns when all calls that were accepted have begun.

        What a client sends before it has seen that, a round trip, the core cancels: docs/decisions/008.
        """
        if not self._started:
            return
        with self._lock:
            begun, self._closing = self._closing, True
        if not begun:
            self._core.shutdown(self._queue, _STOPPED)
        await self._all_arrived.wait()

    async def stop(self, grace: float) -> None:
        """Closes, waits for the calls that there are, and cancels what is left after `grace` seconds."""
        if not self._started:
            return
        await self.close()
        stopped = await self._is_stopped(grace)
        if not stopped:
            self._core.cancel_all_calls()
            stopped = await self._is_stopped(_CANCEL_SECONDS)
        if not stopped:
            _log.error("gRPC's core did not stop; leaving it behind")
        elif self._started:
            self._started = False
            self._core.destroy()

    async def _is_stopped(self, seconds: float) -> bool:
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._stopped.wait()
        return self._stopped.is_set()

    def _wait(self) -> None:
        while not self._over:
            try:
                self._pass_on()
            except Exception:  # without this thread nothing would be answered any more
                _log.exception("an event of gRPC's core could not be passed on")

    def _pass_on(self) -> None:
        """Waits for something to happen and passes it on, with what happens until the loop can look at it."""
        event = self._queue.poll()
        try:
            calm = self._handle(event)
            del event  # it would keep its call alive
            if calm and (seconds := self._patience()) > 0:
                sleep(seconds)
            for _ in range(_AT_A_TIME):
                event = self._queue.poll(_AT_ONCE)
                if event.tag is None:
                    break
                self._handle(event)
            del event
        finally:
            self._wake()

    def _handle(self, event: Any) -> bool:  # noqa: ANN401 - the core's classes have no types
        """Passes on what has happened; gives whether that can wait to be looked at."""
        tag = event.tag
        if tag is _ARRIVED:
            if event.success:
                context = Context(event, self._loop, self._post)
                if monotonic() > self._unread_until:
                    # So that the loop finds call and message together, and is not woken for each.
                    context.receive()
                self._arrivals.append(context)
            with self._lock:
                if not self._closing:
                    self._core.request_call(self._queue, self._queue, _ARRIVED)
                    return True
                self._asked_for -= 1
            if not self._asked_for:
                self._post(self._all_arrived.set)
            return self._asked_for > 0
        if tag is _STOPPED:
            self._over = True
            self._post(self._stopped.set)
            return False
        return tag(event)  # type: ignore[no-any-return]

    def _post(self, function: Callable[..., None], *arguments: Any) -> None:  # noqa: ANN401
        """Has a function called on the event loop, after what has been posted before."""
        self._row.append((function, arguments))

    def _wake(self) -> None:
        if (self._row or self._arrivals) and not self._woken:
            self._woken = True
            self._loop.call_soon_threadsafe(self._go_through)

    def _go_through(self) -> None:
        # First, so that what is posted from now on wakes the loop again.
        self._woken = False
        arrivals = _all_of(self._arrivals)
        arrivals.sort(key=Context.deadline, reverse=True)
        for function, arguments in (*_all_of(self._row), *((self._arrived, (each,)) for each in arrivals)):
            try:
                function(*arguments)
            except Exception:
                _log.exception("an event of gRPC's core could not be handled")

    def _arrived(self, context: Context) -> None:
        handler = self._handlers.get(context.method)
        if handler is None:
            context.end(_UNIMPLEMENTED, "this server has no such method")
            return
        try:
            answer = handler(context)
        except Exception as error:
            context.break_off(error)
            return
        if answer is None:
            self._unread_until = monotonic() + _UNREAD_SECONDS
        else:
            context.open(self._loop.create_task(answer))
