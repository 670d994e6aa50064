"""A stream over threads: one iterates the items, one reads responses, the caller's yields answers."""

import threading
import time
from collections.abc import Callable, Generator, Iterable
from contextlib import suppress
from queue import Empty, SimpleQueue
from typing import Any

import grpc

from bertwire_client.stream.ledger import Ledger
from bertwire_client.wire import parse_error, request_error

# Opens a stream with an iterator of messages and returns the call.
Open = Callable[..., Any]
Closed = Callable[[], bool]
# A ledger method and its argument.
_Event = tuple[Callable[[Any, float], None], Any]
_Events = SimpleQueue[_Event]
# Seconds for the server to end a fully answered stream before it is cancelled.
_END_SECONDS = 1.0


def stream(
    open_stream: Open, closed: Closed, items: Iterable[Any], ledger: Ledger, max_in_flight: int
) -> Generator[Any, None, None]:
    """Yield the answers to items sent over streams from `open_stream`; see `Client.stream`."""
    if max_in_flight < 1:
        raise ValueError(f"max_in_flight is {max_in_flight}; it must be at least 1")
    return _answers(open_stream, closed, items, ledger, threading.Semaphore(max_in_flight))


def _answers(
    open_stream: Open, closed: Closed, items: Iterable[Any], ledger: Ledger, slots: threading.Semaphore
) -> Generator[Any, None, None]:
    events: _Events = SimpleQueue()
    ended = threading.Event()
    threading.Thread(target=_take, args=(items, ledger, events, slots, ended), daemon=True).start()
    connection: _Connection | None = None
    try:
        while not ledger.done:
            _note(events, ledger)
            if closed():
                raise request_error(grpc.StatusCode.CANCELLED, "the client was closed")
            now = time.monotonic()
            ledger.expire(now)
            if ledger.should_connect(now):
                connection = _Connection(open_stream, ledger, events)
            if connection is not None and ledger.connected:
                connection.send(ledger.sendable(now))
            for answer in ledger.answers():
                slots.release()
                yield answer
    finally:
        ended.set()
        slots.release()
        if connection is not None:
            connection.close(at_once=not ledger.done)


def _note(events: _Events, ledger: Ledger) -> None:
    """Wait for an event, then apply all queued events to the ledger."""
    wait = ledger.seconds_to_wait(time.monotonic())
    while (event := _next(events, wait)) is not None:
        note, value = event
        note(value, time.monotonic())
        wait = 0


def _next(events: _Events, seconds: float | None) -> _Event | None:
    with suppress(Empty):
        return events.get(timeout=seconds)
    return None


def _take(
    items: Iterable[Any], ledger: Ledger, events: _Events, slots: threading.Semaphore, ended: threading.Event
) -> None:
    try:
        iterator = iter(items)
        while True:
            slots.acquire()
            if ended.is_set():
                return
            try:
                item = next(iterator)
            except StopIteration:
                break
            events.put((ledger.add, item))
        events.put((ledger.finish, None))
    except BaseException as error:
        events.put((_raise, error))


def _raise(error: BaseException, _: float) -> None:
    raise error


class _Connection:
    """One stream to the server, until it breaks."""

    def __init__(self, open_stream: Open, ledger: Ledger, events: _Events) -> None:
        self._outbox: SimpleQueue[Any | None] = SimpleQueue()
        self._call = open_stream(iter(self._outbox.get, None))
        self._reader = threading.Thread(target=self._read, args=(ledger, events), daemon=True)
        self._reader.start()
        ledger.connected = True

    def send(self, messages: Iterable[Any]) -> None:
        """Queue messages for sending."""
        for message in messages:
            self._outbox.put(message)

    def close(self, *, at_once: bool) -> None:
        """End the stream; `at_once` cancels it without waiting for the server."""
        self._outbox.put(None)
        if not at_once:
            self._reader.join(_END_SECONDS)
        self._call.cancel()
        self._reader.join()

    def _read(self, ledger: Ledger, events: _Events) -> None:
        try:
            for response in self._call:
                events.put((ledger.settle, response))
        except grpc.RpcError as error:
            events.put((ledger.lose, parse_error(error)))
        else:
            events.put((ledger.lose, None))
        # Ends the outbox iterator, on which gRPC's thread would wait for ever.
        self._outbox.put(None)
