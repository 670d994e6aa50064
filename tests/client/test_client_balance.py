"""Both clients with several servers: turns, hedged calls, waiting for a connection; and the caller's trace."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
from collections.abc import Callable
from typing import Any

import grpc
import pytest
from opentelemetry import trace

from bertwire_client import Admin, AsyncClient, Client, InvalidArgumentError, Reply, RequestError, UnavailableError
from bertwire_core.errors import UserError
from fake import FakeServer

both = pytest.mark.parametrize("kind", ["sync", "async"])


class Caller:
    """A client of a kind, by one interface."""

    def __init__(self, kind: str, address: str, **options: Any) -> None:  # noqa: ANN401 - each its own type
        self._sync = Client(address, **options) if kind == "sync" else None
        self._async = None if self._sync else AsyncClient(address, **options)

    async def classify(self, text: str = "a") -> Reply:
        """Makes one call."""
        if self._sync:
            return await asyncio.to_thread(self._sync.classify, [text])
        assert self._async
        return await self._async.classify([text])

    async def __aenter__(self) -> Caller:
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._sync:
            self._sync.close()
        elif self._async:
            await self._async.close()


def together(*servers: FakeServer) -> str:
    """One address of several servers, as gRPC writes it."""
    return "ipv4:" + ",".join(each.address.replace("localhost", "127.0.0.1") for each in servers)


@both
async def test_calls_take_turns_and_none_is_lost(kind: str, fake: FakeServer) -> None:
    """Both servers get calls, with their credential; of one that goes the other takes over, and it is used again."""
    second = FakeServer()
    async with Caller(kind, together(fake, second), api_key="key") as caller:
        while not (fake.requests and second.requests):
            assert (await caller.classify()).results
        calls = [asyncio.create_task(caller.classify()) for _ in range(40)]
        await calls[0]
        await asyncio.to_thread(second.stop)
        assert len(await asyncio.gather(*calls)) == 40
        assert len(await asyncio.gather(*(caller.classify() for _ in range(10)))) == 10
        again = FakeServer(second.address)
        while not again.requests:
            assert (await caller.classify()).results
        again.stop()
    assert {each["authorization"] for each in fake.metadata + second.metadata} == {"Bearer key"}


def first_hangs(until: threading.Event) -> Callable[[object], None]:
    """What holds the first request until it is released."""
    held = iter([until])

    def hang(_: object) -> None:
        if (event := next(held, None)) is not None:
            assert event.wait(60)

    return hang


@both
@pytest.mark.parametrize("key", [None, "key"])
async def test_first_answer_of_a_hedged_call_is_taken(kind: str, key: str | None, fake: FakeServer) -> None:
    """A call that hangs is made once more; one that is answered in time, or refused, is made once."""
    release = threading.Event()
    fake.fail = first_hangs(release)
    async with Caller(kind, fake.address, hedge_after=0.05, api_key=key) as caller:
        assert (await caller.classify()).results
        assert len(fake.requests) == 2
        release.set()
    async with Caller(kind, fake.address, hedge_after=60, api_key=key) as caller:
        assert (await caller.classify()).results
        with pytest.raises(InvalidArgumentError, match="text 0 is bad"):
            await caller.classify("bad")
    assert len(fake.requests) == 4


@both
async def test_other_of_two_hedged_calls_decides(kind: str, fake: FakeServer) -> None:
    """Where the second fails, the first is waited for; where both fail, the call does."""
    lost = threading.Event()
    numbers = iter(range(1, 5))

    def fail(_: object) -> tuple[grpc.StatusCode, str] | None:
        number = next(numbers)
        if number % 2 == 0:
            lost.set()
        assert lost.wait(60)
        return None if number == 1 else (grpc.StatusCode.INTERNAL, "both")

    fake.fail = fail
    async with Caller(kind, fake.address, hedge_after=0.05) as caller:
        assert (await caller.classify()).results
        lost.clear()
        with pytest.raises(RequestError, match="both"):
            await caller.classify()
    assert len(fake.requests) == 4


@both
async def test_refusal_decides_and_close_ends_a_hedged_call(kind: str, fake: FakeServer) -> None:
    """The second call hangs in both cases, and is not waited for."""
    second, release = threading.Event(), threading.Event()
    numbers = iter(range(1, 5))

    def fail(_: object) -> tuple[grpc.StatusCode, str] | None:
        if next(numbers) == 1:
            assert second.wait(60)
            return grpc.StatusCode.NOT_FOUND, "first"
        second.set()
        assert release.wait(60)
        return None

    fake.fail = fail
    async with Caller(kind, fake.address, hedge_after=0.05) as caller:
        with pytest.raises(RequestError, match="NOT_FOUND: first"):
            await caller.classify()
        second.clear()
        call = asyncio.create_task(caller.classify())
        assert await asyncio.to_thread(second.wait, 60)
    with pytest.raises(RequestError, match="CANCELLED"):
        await call
    release.set()


def test_administers_one_server_only() -> None:
    """Not one of several by chance."""
    for address in ("dns:///localhost:1", "ipv4:127.0.0.1:1"):
        with pytest.raises(UserError, match="is for several servers; ask each by its own HOST:PORT"):
            Admin(address)


def test_unknown_propagator_sends_nothing(fake: FakeServer) -> None:
    """Calls go without the trace."""
    program = (
        "import os, sys; os.environ['OTEL_PROPAGATORS'] = 'none-such'; import opentelemetry.trace;"
        "from bertwire_client import Client; [Client(sys.argv[1]).classify(['a']) for _ in range(2)]"
    )
    subprocess.run([sys.executable, "-c", program, fake.address], check=True, timeout=60)
    assert ["traceparent" in each for each in fake.metadata] == [False, False]


@both
async def test_waits_for_a_connection_where_told_to(kind: str, nowhere: str) -> None:
    """Without it a server that is not there fails the call at once."""
    async with Caller(kind, nowhere, attempts=1) as caller:
        with pytest.raises(UnavailableError):
            await caller.classify()
    async with Caller(kind, nowhere, attempts=1, wait_for_ready=True) as caller:
        call = asyncio.create_task(caller.classify())
        await asyncio.sleep(0)
        server = FakeServer(nowhere)
        assert (await call).results
        server.stop()


def test_delay_of_hedging_is_checked() -> None:
    """It is above 0."""
    with pytest.raises(ValueError, match="hedge_after is 0; give seconds above 0, or None"):
        Client("localhost:1", hedge_after=0)


@both
async def test_trace_goes_along(kind: str, fake: FakeServer) -> None:
    """The current span is the parent of what the server traces, unless the caller names another."""
    context = trace.SpanContext(0x1F, 0x2E, is_remote=False, trace_flags=trace.TraceFlags(1))
    parent = f"00-{0x1F:032x}-{0x2E:016x}-01"
    async with Caller(kind, fake.address) as caller:
        await caller.classify()
        with trace.use_span(trace.NonRecordingSpan(context)):
            await caller.classify()
    with Client(fake.address) as client, trace.use_span(trace.NonRecordingSpan(context)):
        list(client.stream(["a"]))
        client.embed(["a"], metadata=[("traceparent", "00-own")])
    assert [each.get("traceparent") for each in fake.metadata] == [None, parent, parent, "00-own"]
