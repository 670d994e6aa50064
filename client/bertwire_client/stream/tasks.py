"""A stream over asyncio tasks: one iterates the items, one reads responses, the caller's yields answers."""

import asyncio
import time
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Callable, Iterable
from contextlib import suppress
from typing import Any

import grpc

from bertwire_client.stream.ledger import Ledger
from bertwire_client.wire import parse_error, request_error

Items = Iterable[Any] | AsyncIterable[Any]
# Opens a stream with an iterator of messages and returns the call.
Open = Callable[..., Any]
Closed = Callable[[], bool]
# A ledger method and its argument.
_Event = tuple[Callable[[Any, float], None], Any]
_Events = asyncio.Queue[_Event]
# Seconds for the server to end a fully answered stream before it is cancelled.
_END_SECONDS = 1.0


def stream(
    open_stream: Open, closed: Closed, items: Items, ledger: Ledger, max_in_flight: int
) -> AsyncGenerator[Any, None]:
    """Yield the answers to items sent over streams from `open_stream`; see `Client.stream`."""
    if max_in_flight < 1:
        raise ValueError(f"max_in_flight is {max_in_flight}; it must be at least 1")
    return _answers(open_stream, closed, items, ledger, asyncio.Semaphore(max_in_flight))


async def _answers(
    open_stream: Open, closed: Closed, items: Items, ledger: Ledger, slots: asyncio.Semaphore
) -> AsyncGenerator[Any, None]:
    events: _Events = asyncio.Queue()
    taking = asyncio.create_task(_take(items, ledger, events, slots))
    connection: _Connection | None = None
    try:
        while not ledger.done:
            await _note(events, ledger)
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
        taking.cancel()
        if connection is not None:
            await connection.close(at_once=not ledger.done)


async def _note(events: _Events, ledger: Ledger) -> None:
    """Wait for an event, then apply all queued events to the ledger."""
    wait = ledger.seconds_to_wait(time.monotonic())
    while (event := await _next(events, wait)) is not None:
        note, value = event
        note(value, time.monotonic())
        wait = 0


async def _next(events: _Events, seconds: float | None) -> _Event | None:
    if not events.empty():
        return events.get_nowait()
    if seconds != 0:
        # wait_for can lose a cancellation before Python 3.12.
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                return await events.get()
    return None


async def _take(items: Items, ledger: Ledger, events: _Events, slots: asyncio.Semaphore) -> None:
    iterator = aiter(items if isinstance(items, AsyncIterable) else _asynchronous(items))
    try:
        while True:
            await slots.acquire()
            try:
                item = await anext(iterator)
            except StopAsyncIteration:
                break
            events.put_nowait((ledger.add, item))
        events.put_nowait((ledger.finish, None))
    except BaseException as error:  # also where the items' source was cancelled, not this task
        events.put_nowait((_raise, error))


async def _asynchronous(items: Iterable[Any]) -> AsyncIterator[Any]:
    for item in items:
        yield item


def _raise(error: BaseException, _: float) -> None:
    raise error


class _Connection:
    """One stream to the server, until it breaks."""

    def __init__(self, open_stream: Open, ledger: Ledger, events: _Events) -> None:
        self._outbox: asyncio.Queue[Any | None] = asyncio.Queue()
        self._call = open_stream(self._messages())
        self._reader = asyncio.create_task(self._read(ledger, events))
        ledger.connected = True

    def send(self, messages: Iterable[Any]) -> None:
        """Queue messages for sending."""
        for message in messages:
            self._outbox.put_nowait(message)

    async def close(self, *, at_once: bool) -> None:
        """End the stream; `at_once` cancels it without waiting for the server."""
        self._outbox.put_nowait(None)
        await asyncio.wait([self._reader], timeout=0 if at_once else _END_SECONDS)
        self._call.cancel()
        await asyncio.wait([self._reader])

    async def _messages(self) -> AsyncIterator[Any]:
        while (message := await self._outbox.get()) is not None:
            yield message

    async def _read(self, ledger: Ledger, events: _Events) -> None:
        error = None
        try:
            async for response in self._call:
                events.put_nowait((ledger.settle, response))
        except grpc.aio.AioRpcError as failure:
            error = parse_error(failure)
        except asyncio.CancelledError:
            # gRPC also raises it where the server or a proxy cancelled the stream.
            if not self._call.done():
                raise
            error = request_error(grpc.StatusCode.CANCELLED, "the stream was cancelled")
        # Ends `_messages`, on which gRPC's task would wait for ever.
        self._outbox.put_nowait(None)
        events.put_nowait((ledger.lose, error))
