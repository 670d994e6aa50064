"""A thread for blocking work, from an event loop."""

import asyncio
import os
import sys
import threading
from collections.abc import Callable
from queue import SimpleQueue
from typing import Any, TypeVar

T = TypeVar("T")
# For whatever computes long: behind the event loop, which has to refuse what would come too late, answer health checks
# and hand out what is ready, and does each in a fraction of a millisecond. docs/decisions/018-overload.md
BEHIND = 5


class Worker:
    """One thread that does one thing after the other.

    Not an executor: that waits for its threads when the interpreter exits, and a run that hangs would hang the exit.
    """

    def __init__(self, name: str, nice: int = 0) -> None:
        """Starts it.

        Args:
            name: the thread's name.
            nice: by how much it stands back, as of `nice`, where threads want the same core; threads that are started
                from it stand back as much.
        """
        self._nice = nice
        self._last: asyncio.Future[None] | None = None
        self._jobs: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        threading.Thread(target=self._work, name=name, daemon=True).start()

    def run(self, work: Callable[..., T], *arguments: Any) -> asyncio.Future[T]:  # noqa: ANN401 - the work's own
        """Does `work` in the thread; gives its result, or what it raised, on the event loop that asks.

        Where the future is cancelled before its turn has come, nothing is done.
        """
        loop = asyncio.get_running_loop()
        future: asyncio.Future[T] = loop.create_future()

        def job() -> None:
            if future.cancelled():
                return
            try:
                result = work(*arguments)
            except BaseException as error:  # or this thread ends, and nobody is answered
                shown = error if isinstance(error, Exception) else RuntimeError(f"{type(error).__name__}: {error}")
                answer: tuple[Callable[[Any], None], Any] = (future.set_exception, shown)
            else:
                answer = (future.set_result, result)
            if not loop.is_closed():
                loop.call_soon_threadsafe(_settle, future, *answer)

        self._jobs.put(job)
        return future

    async def stop(self, seconds: float | None = None) -> bool:
        """Lets the thread end after what it has, and waits for that for at most so long; whether it has ended."""
        if self._last is None:
            self._last = self.run(lambda: None)
            self._jobs.put(None)
        done, _ = await asyncio.wait([self._last], timeout=seconds)
        return bool(done)

    def _work(self) -> None:
        if self._nice and sys.platform == "linux":  # where each thread has a priority of its own
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), self._nice)
        while (job := self._jobs.get()) is not None:
            job()
            del job  # or what it gave would be kept until the next one


def _settle(future: asyncio.Future[Any], settle: Callable[[Any], None], value: object) -> None:
    if not future.done():
        settle(value)
