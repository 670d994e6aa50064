"""A stream of requests into a stream of answers in the same order, with a bound on what lies in between."""

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from typing import Generic, TypeVar

Request = TypeVar("Request")
Response = TypeVar("Response")


async def in_order(
    requests: AsyncIterator[Request], answer: Callable[[Request], Awaitable[Response]], most: int
) -> AsyncGenerator[Response, None]:
    """Answers requests at the same time, and yields the answers in the order of the requests.

    A request counts as unanswered until its answer has been taken, so that a client who reads slowly, or nothing, stops
    the reading of requests. The first failure, of a request or of reading one, ends the stream once all requests
    before it have been answered, and cancels those behind it.

    Args:
        requests: read only while fewer than `most` are unanswered.
        answer: answers one.
        most: most requests unanswered at a time.

    Raises:
        Exception: whatever reading or answering raised.
    """
    window = _Window(requests, answer, most)
    reading = asyncio.create_task(window.fill())
    try:
        while (answering := await window.oldest()) is not None:
            yield await answering
            window.taken()
    finally:
        reading.cancel()
        window.cancel()


class _Window(Generic[Request, Response]):
    """The unanswered requests of one stream, each with the task that answers it."""

    def __init__(
        self, requests: AsyncIterator[Request], answer: Callable[[Request], Awaitable[Response]], most: int
    ) -> None:
        self._requests, self._answer = requests, answer
        self._room = asyncio.Semaphore(most)
        self._tasks: deque[asyncio.Task[Response]] = deque()
        self._changed = asyncio.Event()
        self._ended = False
        self._fault: Exception | None = None

    async def fill(self) -> None:
        """Reads requests to their end, or to a fault, which `oldest` raises in its turn."""
        try:
            while await self._room.acquire():
                request = await anext(self._requests)
                self._tasks.append(asyncio.create_task(self._run(request)))
                self._changed.set()
        except StopAsyncIteration:
            pass
        except Exception as error:
            self._fault = error
        finally:
            self._ended = True
            self._changed.set()

    async def _run(self, request: Request) -> Response:
        return await self._answer(request)

    async def oldest(self) -> asyncio.Task[Response] | None:
        """The task of the oldest unanswered request, once there is one; None at the end."""
        while not self._tasks:
            if self._fault is not None:
                raise self._fault
            if self._ended:
                return None
            self._changed.clear()
            await self._changed.wait()
        return self._tasks[0]

    def taken(self) -> None:
        """Forgets the oldest request, whose answer has been taken."""
        self._tasks.popleft()
        self._room.release()

    def cancel(self) -> None:
        """Ends all that is under way."""
        for task in self._tasks:
            if task.done() and not task.cancelled():
                task.exception()  # marks it as seen: nobody will ask for it
            task.cancel()
