"""The thread for blocking work."""

import asyncio
import threading

from bertwire_server.model.worker import Worker


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
