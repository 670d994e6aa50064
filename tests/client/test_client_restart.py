"""The clients against a real server that is killed under them."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import ExitStack
from itertools import cycle
from pathlib import Path

import pytest

from bertwire_client import Answer, AsyncClient, Client
from support import LABELS, Serve, Server, random_texts


async def answers(kind: str, address: str, texts: Iterable[str]) -> AsyncIterator[Answer]:
    """The answers to a stream of texts, by the client of that kind."""
    if kind == "sync":
        with Client(address, timeout=60) as client:
            stream = client.stream(texts, max_in_flight=32, top_k=1)
            while (answer := await asyncio.to_thread(next, stream, None)) is not None:
                yield answer
        return
    async with AsyncClient(address, timeout=60) as other:
        async for answer in other.stream(texts, max_in_flight=32, top_k=1):
            yield answer


async def test_stream_gives_what_calls_give(server: Server) -> None:
    """Over a stream every text has the answer that it has in a call."""
    texts = random_texts(200)
    with Client(server.address) as client:
        called = [result.label for result in client.classify(texts, top_k=1).results]
        streamed = [answer.reply.results[0].label for answer in client.stream(texts, ordered=True, top_k=1)]
    assert streamed == called
    assert set(called) <= set(LABELS)


@pytest.mark.parametrize("kind", ["sync", "async"])
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
async def test_nothing_is_lost_or_answered_twice(kind: str, number: signal.Signals, serve: Serve, bundle: Path) -> None:
    """Each text has one answer, though its server goes in the middle and another takes its place."""
    given: list[int] = []
    gone_after: list[int] = []
    taken = 0

    def texts() -> Iterator[str]:
        nonlocal taken
        for text in cycle(random_texts(1000)):
            if gone_after and taken >= gone_after[0] + 1000:
                return
            taken += 1
            yield text

    with ExitStack() as stack:
        first = stack.enter_context(serve(bundle, "--variant", "fp32"))

        def restart() -> None:
            first.process.send_signal(number)
            first.process.wait(60)
            gone_after.append(len(given))
            stack.enter_context(serve(bundle, "--variant", "fp32", "--port", first.address.rpartition(":")[2]))

        restarting: asyncio.Task[None] | None = None
        async for answer in answers(kind, first.address, texts()):
            assert answer.reply.results[0].label in LABELS
            given.append(answer.index)
            if len(given) == 500:
                restarting = asyncio.create_task(asyncio.to_thread(restart))
        assert restarting is not None
        await restarting
    assert sorted(given) == list(range(taken))
