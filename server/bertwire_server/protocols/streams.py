"""Many requests over one stream, answered as they are ready."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import TypeVar

from bertwire_server.errors import NotReady

Request = TypeVar("Request")
Response = TypeVar("Response")


async def answers(
    requests: AsyncIterator[Request],
    handle: Callable[[Request], Awaitable[Response]],
    limit: int,
    closing: asyncio.Event,
) -> AsyncIterator[Response]:
    """Handles the messages of a stream side by side, and yields each answer when it is there.

    Reads on only while fewer than `limit` messages are unanswered, and an answer counts as given once the transport
    has taken it; so neither a fast writer nor a slow reader takes more memory than that.

    Args:
        requests: the messages; what it raises is raised once those before are answered.
        handle: answers a message; must not raise.
        limit: most messages unanswered at a time.
        closing: set when the server shuts down.

    Raises:
        NotReady: the server shuts down; every message that was read has been answered.
    """
    done: asyncio.Queue[Response | None] = asyncio.Queue()
    slots, handlers = asyncio.Semaphore(limit), set[asyncio.Task[None]]()
    unanswered, reading = 0, True

    async def answer(request: Request) -> None:
        done.put_nowait(await handle(request))

    async def read() -> None:
        nonlocal unanswered
        async for request in requests:
            await slots.acquire()
            unanswered += 1
            task = asyncio.create_task(answer(request))
            handlers.add(task)
            task.add_done_callback(handlers.discard)

    reader = asyncio.create_task(read())
    reader.add_done_callback(lambda _: done.put_nowait(None))
    closer = asyncio.create_task(closing.wait())
    closer.add_done_callback(lambda _: reader.cancel())
    try:
        while reading or unanswered:
            response = await done.get()
            if response is None:
                reading = False
                continue
            unanswered -= 1
            yield response
            slots.release()
        if reader.cancelled():
            raise NotReady("the server is shutting down; send what is unanswered to another one")
        reader.result()
    finally:
        for task in (reader, closer, *handlers):
            task.cancel()
