"""The gRPC server by itself, with real clients."""

import asyncio
import gc
import threading
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

import grpc
import grpc.aio
import pytest

from bertwire_server.transport.context import Context
from bertwire_server.transport.server import Server
from gated import listening

Handle = Callable[[Context], Awaitable[None]]


def to(port: int) -> Any:  # noqa: ANN401 - a channel, whose methods' types would follow from serializers
    """A channel with a connection of its own."""
    return grpc.aio.insecure_channel(f"127.0.0.1:{port}", options=[("grpc.use_local_subchannel_pool", 1)])


async def echo(context: Context) -> None:
    """Gives back every message."""
    while (content := await context.read()) is not None:
        await context.write(content)
    context.end()


async def test_messages_go_both_ways() -> None:
    """A stream ends when its sender has ended, with all messages, empty ones too, and the metadata are there."""
    seen = []

    async def handle(context: Context) -> None:
        seen.append((context.method, dict(context.invocation_metadata()), context.time_remaining()))
        await echo(context)

    async with listening() as (server, port), to(port) as channel:
        server.add("/s/echo", handle)
        sent = [b"a", b"", b"c" * 100_000]
        method = channel.stream_stream("/s/echo")
        call = method(iter(sent), metadata=(("k", "v"), ("x-bin", b"\x00\xff")), timeout=20)
        assert [each async for each in call] == sent
        assert await call.code() is grpc.StatusCode.OK
        assert [each async for each in method(iter([]))] == []
    (method_, metadata, remaining), (_, _, never) = seen
    assert method_ == "/s/echo"
    assert (metadata["k"], metadata["x-bin"]) == ("v", b"\x00\xff")
    assert 19 < (remaining or 0) < 20.1  # the deadline comes by the monotonic clock, the time by the other
    assert never is None


async def test_end_after_writes_keeps_them() -> None:
    """What was written before the end arrives before it, though nobody waited for the transport."""

    async def handle(context: Context) -> None:
        for number in range(3):
            await context.write(b"%d" % number)
        context.end(grpc.StatusCode.ABORTED.value[0], "that is äll", (("k", "v"),))

    async with listening() as (server, port), to(port) as channel:
        server.add("/s/three", handle)
        call = channel.unary_stream("/s/three")(b"")
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            assert [each async for each in call] == [b"0", b"1", b"2"]
        assert (caught.value.code(), caught.value.details()) == (grpc.StatusCode.ABORTED, "that is äll")
        assert ("k", "v") in tuple(await call.trailing_metadata())


async def test_unknown_method_and_failing_handlers() -> None:
    """No such method is UNIMPLEMENTED, a fault INTERNAL without a word of it, and a handler that gives up CANCELLED."""

    async def breaks(_: Context) -> None:
        raise RuntimeError("secret")

    async def gives_up(_: Context) -> None:
        raise asyncio.CancelledError

    async def forgets(_: Context) -> None:
        return

    def breaks_at_once(_: Context) -> None:
        raise RuntimeError("secret")

    def refuses(context: Context) -> None:
        context.end(grpc.StatusCode.RESOURCE_EXHAUSTED.value[0], "no")

    async with listening() as (server, port), to(port) as channel:
        server.add("/s/breaks", breaks)
        server.add("/s/breaks at once", breaks_at_once)
        server.add("/s/gives", gives_up)
        server.add("/s/forgets", forgets)
        server.add("/s/refuses", refuses)
        found = {}
        for name in ("breaks", "breaks at once", "gives", "forgets", "refuses", "unknown"):
            method = channel.unary_unary(f"/s/{name}")
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await method(b"", timeout=20)
            assert "secret" not in str(caught.value.details())
            found[name] = caught.value.code().name
    assert found == {
        "breaks": "INTERNAL",
        "breaks at once": "INTERNAL",
        "gives": "CANCELLED",
        "forgets": "CANCELLED",
        "refuses": "RESOURCE_EXHAUSTED",
        "unknown": "UNIMPLEMENTED",
    }


@pytest.mark.parametrize("by", ["cancel", "deadline", "disconnect"])
async def test_handler_of_a_caller_who_left_is_cancelled(by: str) -> None:
    """Whatever it waits for, and it can clear up: here reading, with nothing sent."""
    begun, ended = asyncio.Event(), asyncio.Event()

    async def handle(context: Context) -> None:
        begun.set()
        try:
            await context.read()
            await context.read()
        finally:
            ended.set()

    async with listening() as (server, port):
        server.add("/s/wait", handle)
        channel = to(port)
        call = channel.stream_stream("/s/wait")(timeout=0.2 if by == "deadline" else 20)
        await call.write(b"")
        await begun.wait()
        if by == "cancel":
            call.cancel()
        elif by == "disconnect":
            await channel.close()
        await asyncio.wait_for(ended.wait(), 20)
        assert ended.is_set()
        await channel.close()


async def test_writer_waits_for_a_reader_that_does_not_read() -> None:
    """No more is taken than the transport's window and one message."""
    written, goes_on = 0, asyncio.Event()

    async def handle(context: Context) -> None:
        nonlocal written
        while True:
            await context.write(b"x" * 10_000)
            written += 1
            goes_on.set()

    async with listening() as (server, port), to(port) as channel:
        server.add("/s/flood", handle)
        call = channel.unary_stream("/s/flood")(b"", timeout=100)
        assert len(await call.read()) == 10_000
        with suppress(TimeoutError):
            while written < 10_000:  # or until nothing more is taken for a second
                goes_on.clear()
                await asyncio.wait_for(goes_on.wait(), 1)
        assert written < 10_000
        call.cancel()


async def test_stop_waits_then_cancels() -> None:
    """Calls that end within the grace are answered; others are cancelled when it is over; a second stop is nothing."""
    going, held = asyncio.Event(), asyncio.Event()

    async def ends(context: Context) -> None:
        going.set()
        await held.wait()
        context.answer(b"done")

    async def lasts(context: Context) -> None:
        await context.read()
        await asyncio.Event().wait()

    async with listening() as (server, port), to(port) as channel:
        server.add("/s/ends", ends)
        server.add("/s/lasts", lasts)
        first = channel.unary_unary("/s/ends")(b"", timeout=20)
        second = channel.unary_unary("/s/lasts")(b"", timeout=20)
        await going.wait()
        stopping = asyncio.create_task(server.stop(0.5))
        held.set()
        assert await first == b"done"
        assert await second.code() in (grpc.StatusCode.CANCELLED, grpc.StatusCode.UNAVAILABLE)
        await stopping
        await server.stop(0)


async def test_stop_ends_the_thread() -> None:
    """Nothing waits for the core any more."""
    before = {each for each in threading.enumerate() if each.name == "grpc"}
    async with listening() as (server, port), to(port) as channel:
        server.add("/s/echo", echo)
        call = channel.stream_stream("/s/echo")(iter([b"a"]), timeout=20)
        assert [each async for each in call] == [b"a"]
    for each in threading.enumerate():
        if each.name == "grpc" and each not in before:
            await asyncio.to_thread(each.join, 20)
            assert not each.is_alive()


async def test_never_started_stops() -> None:
    """Nothing to wait for."""
    await Server([]).stop(0)


async def test_arrivals_gather_where_there_is_no_hurry() -> None:
    """Calls that come while the thread is patient are all answered; it is not for messages that somebody waits for."""
    asked = 0

    def patience() -> float:
        nonlocal asked
        asked += 1
        return 0.02

    server = Server([("grpc.so_reuseport", 0)], patience)
    port = server.add_port("127.0.0.1:0", None)
    server.add("/s/echo", echo)
    server.start()
    async with to(port) as channel:
        method = channel.stream_stream("/s/echo")
        calls = [method(iter([b"a", b"b", b"c"]), timeout=20) for _ in range(100)]
        for call in calls:
            assert [each async for each in call] == [b"a", b"b", b"c"]
    await server.stop(0)
    assert 1 <= asked <= 200  # for each call, and its first message if that comes by itself


async def test_first_message_comes_with_its_call(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its handler need not wait; but for a second after a call was ended at its headers nothing is received in vain."""
    waited, clock = [], [1000.0]
    monkeypatch.setattr("bertwire_server.transport.server.monotonic", lambda: clock[0])

    def refuse(context: Context) -> None:
        context.end(8, "no")

    async def handle(context: Context) -> None:
        reading = asyncio.ensure_future(context.read())
        await asyncio.sleep(0)
        waited.append(not reading.done())
        context.answer(await reading or b"")

    server = Server([("grpc.so_reuseport", 0)], lambda: 0.3)
    port = server.add_port("127.0.0.1:0", None)
    server.add("/s/answer", handle)
    server.add("/s/refuse", refuse)
    server.start()
    async with to(port) as channel:
        await channel.channel_ready()
        assert await channel.unary_unary("/s/answer")(b"a", timeout=20) == b"a"
        with pytest.raises(grpc.aio.AioRpcError, match="no"):
            await channel.unary_unary("/s/refuse")(b"a", timeout=20)
        for clock[0] in (1000.9, 1001.1):
            assert await channel.unary_unary("/s/answer")(b"b", timeout=20) == b"b"
    await server.stop(0)
    assert waited == [False, True, False]


async def test_those_with_most_time_left_are_looked_at_first() -> None:
    """Of calls that have gathered; one that waits for ever comes before all, whatever came first."""
    seen = []

    async def handle(context: Context) -> None:
        seen.append(context.time_remaining())
        await echo(context)

    server = Server([("grpc.so_reuseport", 0)], lambda: 1.0)
    port = server.add_port("127.0.0.1:0", None)
    server.add("/s/echo", handle)
    server.start()
    async with to(port) as channel:
        await channel.channel_ready()
        method = channel.unary_unary("/s/echo")
        await asyncio.gather(*(method(b"", timeout=seconds) for seconds in (20, 80, None, 40)))
    await server.stop(0)
    assert seen[0] is None
    assert [round(each / 20) for each in seen[1:] if each] == [4, 2, 1]


async def test_ended_calls_are_let_go_of() -> None:
    """Also where an exception keeps the context in a cycle that nobody collects: the connection can end."""
    gone = asyncio.Event()
    kept: list[Context] = []

    async def handle(context: Context) -> None:
        kept.append(context)
        await context.read()
        context.answer(b"")

    async with listening() as (server, port):
        server.add("/s/keep", handle)
        gc.disable()
        try:
            async with to(port) as channel:
                method = channel.unary_unary("/s/keep")
                await method(b"", timeout=20)
        finally:
            gc.enable()
        stopping = asyncio.create_task(server.stop(30))
        stopping.add_done_callback(lambda _: gone.set())
        await asyncio.wait_for(gone.wait(), 10)
    assert kept
