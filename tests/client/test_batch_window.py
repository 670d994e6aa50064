"""How many calls a job has in flight to a server that refuses some."""

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import grpc

from bertwire_batch import ScoreConfig, score_file
from bertwire_batch.window import Window
from bertwire_client.errors import ResourceExhaustedError
from fake import Failure, FakeServer


async def most_in_flight(window: Window, calls: int) -> int:
    """Return how many of so many calls, which are answered, are in flight at once."""
    now = most = 0

    async def call() -> None:
        nonlocal now, most
        now, most = now + 1, max(most, now + 1)
        await asyncio.sleep(0)
        now -= 1

    await asyncio.gather(*(window.run(call) for _ in range(calls)))
    return most


async def refuse(window: Window, calls: int, message: str = "full") -> None:
    """Refuse so many calls that are in flight together."""

    async def call() -> None:
        await asyncio.sleep(0)
        raise ResourceExhaustedError(grpc.StatusCode.RESOURCE_EXHAUSTED, message)

    await asyncio.gather(*(window.run(call) for _ in range(calls)), return_exceptions=True)


def test_refusals_halve_and_answers_add_one() -> None:
    """Calls refused together halve the window once; it grows by one for a windowful of answers, up to its limit."""

    async def run() -> None:
        window = Window(8)
        assert await most_in_flight(window, 20) == 8
        await refuse(window, 8)
        assert await most_in_flight(window, 4) == 4
        await refuse(window, 1, "Received message larger than max")
        assert await most_in_flight(window, 4) == 4
        assert await most_in_flight(window, 5) == 5
        for _ in range(6):
            await refuse(window, 1)
        assert await most_in_flight(window, 1) == 1
        assert await most_in_flight(window, 200) == 8

    asyncio.run(run())


def test_server_that_takes_two_calls(tmp_path: Path, fake: FakeServer) -> None:
    """Every text is answered; few calls are refused, in place of most of them."""
    taken, refused = threading.BoundedSemaphore(2), 0

    @contextmanager
    def place() -> Iterator[bool]:
        has = taken.acquire(blocking=False)
        try:
            yield has
        finally:
            if has:
                taken.release()

    def fail(request: object) -> Failure | None:  # noqa: ARG001
        nonlocal refused
        with place() as has:
            if has:
                threading.Event().wait(0.002)
                return None
            refused += 1
            return grpc.StatusCode.RESOURCE_EXHAUSTED, "two calls are in flight"

    fake.fail, fake.pushback = fail, "5"
    path, output = tmp_path / "in.csv", tmp_path / "out.csv"
    path.write_text("text\n" + "".join(f"text {index}\n" for index in range(300)))
    config = ScoreConfig(inputs=[path], output=output, server=[fake.address], batch_size=1, concurrency=16)
    assert (score_file(config).failed, output.read_text().count(",short,")) == (0, 300)
    assert 0 < refused < 150
