"""Concurrent handling of a stream's requests."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import aclosing
from dataclasses import dataclass
from time import perf_counter
from typing import TypeVar

import grpc
from google.protobuf.message import Message

from bertwire_server.call import Call, current
from bertwire_server.errors import AnswerTooLarge
from bertwire_server.status import public
from bertwire_server.telemetry.metrics import Metrics

Request = TypeVar("Request")
Response = TypeVar("Response")
Sized = TypeVar("Sized", bound=Message)
Handle = Callable[[Request], Awaitable[Response]]


# Bytes reserved for what surrounds an answer, such as its request's id.
_ENVELOPE_BYTES = 4096


@dataclass(frozen=True, slots=True)
class StreamLimits:
    """Limits of a stream.

    Attributes:
        requests: most unanswered requests.
        answer_bytes: largest message to send.
    """

    requests: int
    answer_bytes: int


def counted(handle: Handle[Request, Sized], metrics: Metrics, limits: StreamLimits) -> Handle[Request, Sized]:
    """Wrap a handler so that each message counts as a call and raises only errors for the client.

    An answer above the limit fails here, since sending it would end the stream.
    """

    async def call(request: Request) -> Sized:
        start, stream = perf_counter(), current.get()
        # Messages of a stream may be for different models; each has its own task, and so its own context.
        own = Call(stream.method, stream.request_id, stream.client, trace=stream.trace)
        current.set(own)
        code = grpc.StatusCode.CANCELLED
        try:
            response = await handle(request)
            if (size := response.ByteSize()) + _ENVELOPE_BYTES > limits.answer_bytes:
                raise AnswerTooLarge(size, limits.answer_bytes - _ENVELOPE_BYTES)
            code = grpc.StatusCode.OK
            return response
        except Exception as error:
            shown = public(error, own.method)
            code = shown.code
            stream.failures[code.name] = stream.failures.get(code.name, 0) + 1
            raise shown from None
        finally:
            stream.texts += own.texts
            stream.content = own.content
            metrics.call_ended(own, code, perf_counter() - start)

    return call


async def answers(
    requests: AsyncIterator[Request],
    handle: Handle[Request, Response],
    limit: int,
) -> AsyncGenerator[Response, None]:
    """Handle a stream's messages concurrently and yield each answer when it is ready.

    `handle` must not raise. The next message is read only while fewer than `limit` are unanswered or unsent, which
    bounds memory for fast writers and slow readers.

    Raises:
        Exception: the error of reading a message, once all before it are answered.
    """
    done: asyncio.Queue[Response | None] = asyncio.Queue()
    slots, handlers = asyncio.Semaphore(limit), set[asyncio.Task[None]]()
    unanswered, reading = 0, True

    async def answer(request: Request) -> None:
        done.put_nowait(await handle(request))

    async def read() -> None:
        nonlocal unanswered
        while await slots.acquire():
            try:
                request = await anext(requests)
            except StopAsyncIteration:
                return
            unanswered += 1
            task = asyncio.create_task(answer(request))
            handlers.add(task)
            task.add_done_callback(handlers.discard)

    reader = asyncio.create_task(read())
    reader.add_done_callback(lambda _: done.put_nowait(None))
    try:
        while reading or unanswered:
            response = await done.get()
            if response is None:
                reading = False
                continue
            unanswered -= 1
            yield response
            slots.release()
        reader.result()
    finally:
        for task in (reader, *handlers):
            task.cancel()


async def in_order(
    requests: AsyncIterator[Request], handle: Handle[Request, Response], limit: int
) -> AsyncGenerator[Response, None]:
    """Yield answers as `answers`, but in order; the first error of `handle` ends it once all before it are answered.

    Raises:
        Exception: the error of handling or reading a message.
    """
    last: asyncio.Event | None = None

    async def in_turn(request: Request) -> Response | Exception:
        nonlocal last
        before, last = last, asyncio.Event()
        done = last
        outcome: Response | Exception
        try:
            outcome = await handle(request)
        except Exception as error:
            outcome = error
        if before is not None:
            await before.wait()
        done.set()
        return outcome

    async with aclosing(answers(requests, in_turn, limit)) as answered:
        async for outcome in answered:
            if isinstance(outcome, Exception):
                raise outcome
            yield outcome
