"""Many requests over one stream, answered as they are ready."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from typing import TypeVar

Request = TypeVar("Request")
Response = TypeVar("Response")


async def answers(
    requests: AsyncIterator[Request],
    handle: Callable[[Request], Awaitable[Response]],
    limit: int,
) -> AsyncGenerator[Response, None]:
    """Handles the messages of a stream side by side, and yields each answer when it is there.

    Reads on only while fewer than `limit` messages are unanswered, and an answer counts as given once the transport
    has taken it; so neither a fast writer nor a slow reader takes more memory than that.

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
        async for request in requests:
            await slots.acquire()
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
