"""Many requests over one stream, answered as they are ready."""

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


# Of what is sent with an answer, such as the id of its request.
_AROUND_BYTES = 4096


@dataclass(frozen=True, slots=True)
class StreamLimits:
    """What a stream may hold.

    Attributes:
        requests: most unanswered requests.
        answer_bytes: largest message that can be sent.
    """

    requests: int
    answer_bytes: int


def counted(handle: Handle[Request, Sized], metrics: Metrics, limits: StreamLimits) -> Handle[Request, Sized]:
    """The same handler, which counts each message as a call; what it raises is what a client may see.

    An answer that is too large fails alone: where it is sent, its stream would end with it.
    """

    async def call(request: Request) -> Sized:
        start, stream = perf_counter(), current.get()
        # Messages of one stream may be for different models; each is handled in a task, and so a context, of its own.
        own = Call(stream.method, stream.request_id, stream.client, trace=stream.trace)
        current.set(own)
        code = grpc.StatusCode.CANCELLED
        try:
            response = await handle(request)
            if (size := response.ByteSize()) + _AROUND_BYTES > limits.answer_bytes:
                raise AnswerTooLarge(size, limits.answer_bytes - _AROUND_BYTES)
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
    """Handles the messages of a stream side by side, and yields each answer when it is there.

    Takes a further message only while fewer than `limit` are unanswered, and an answer counts as given once there was
    room among those that wait to be sent; so neither a fast writer nor a slow reader takes more memory than that.

    Args:
        requests: the messages.
        handle: answers a message; must not raise.
        limit: most messages unanswered at a time.

    Raises:
        Exception: what reading a message raised, once those before it are answered.
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
    """As `answers`, in the order of the messages; the first failure ends it once those before it are answered.

    Args:
        requests: the messages.
        handle: answers a message; may raise.
        limit: most messages unanswered at a time.

    Raises:
        Exception: what handling or reading a message raised.
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
