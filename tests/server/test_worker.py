"""The thread for blocking work."""

import asyncio
import threading

import pytest

from bertwire_server.model.worker import Worker


class Panic(BaseException):
    """As libraries in Rust have them."""


async def test_cancelled_work_is_not_done() -> None:
    """What nobody waits for any more, when its turn comes, takes no time from what comes after it."""
    worker, begun, gate = Worker("test"), threading.Event(), threading.Event()
    done: list[str] = []

    def hold() -> None:
        begun.set()
        gate.wait()

    first = worker.run(hold)
    await asyncio.to_thread(begun.wait)
    second, third = worker.run(done.append, "second"), worker.run(done.append, "third")
    second.cancel()
    gate.set()
    await asyncio.gather(first, third)
    assert done == ["third"]
    assert await worker.stop(10)


async def test_panic_ends_one_job_alone() -> None:
    """Whoever waits is told, and the thread goes on."""
    worker = Worker("test")

    def panic() -> None:
        raise Panic("index out of bounds")

    with pytest.raises(RuntimeError, match="Panic: index out of bounds"):
        await asyncio.wait_for(worker.run(panic), 20)
    assert await asyncio.wait_for(worker.run(lambda: 5), 20) == 5
    assert await worker.stop(10)
