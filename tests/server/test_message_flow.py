"""How messages of streams are received ahead and sent on, with real clients, and by hand where the core is gone."""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import grpc
import grpc.aio

from bertwire_server.transport.context import Context
from bertwire_server.transport.inbox import Inbox
from bertwire_server.transport.outbox import Outbox
from bertwire_server.transport.server import Server
from gated import listening

SIZES = (0, 1, 100, 5000, 70_000)


def to(port: int) -> Any:  # noqa: ANN401 - a channel, whose methods' types would follow from serializers
    """A channel with a connection of its own."""
    return grpc.aio.insecure_channel(f"127.0.0.1:{port}", options=[("grpc.use_local_subchannel_pool", 1)])


async def echo_ahead(context: Context) -> None:
    """Gives back every message, which are received before it asks for them."""
    context.read_ahead()
    while (content := await context.read()) is not None:
        await context.write(content)
    context.end(grpc.StatusCode.ABORTED.value[0], "all read")


async def test_order_is_kept_in_both_directions() -> None:
    """Of messages of all sizes, with the status behind the last."""
    sent = [bytes([place % 251]) * SIZES[place % len(SIZES)] for place in range(1000)]
    async with listening() as (server, port), to(port) as channel:
        server.add("/s/echo", echo_ahead)
        call = channel.stream_stream("/s/echo")(iter(sent), timeout=100)
        assert [await call.read() for _ in sent] == sent
        assert (await call.code(), await call.details()) == (grpc.StatusCode.ABORTED, "all read")


async def test_each_message_is_answered_while_the_stream_is_open() -> None:
    """Nothing is kept back until more comes."""
    async with listening() as (server, port), to(port) as channel:
        server.add("/s/echo", echo_ahead)
        call = channel.stream_stream("/s/echo")(timeout=100)
        for place in range(100):
            for size in SIZES[: 1 + place % len(SIZES)]:
                await call.write(b"x" * size)
            for size in SIZES[: 1 + place % len(SIZES)]:
                assert len(await call.read()) == size
        call.cancel()


async def test_no_more_is_received_than_there_is_room_for() -> None:
    """A handler that does not read makes its caller wait; what was sent is all there once it goes on."""
    held, sent, goes_on = asyncio.Event(), 0, asyncio.Event()

    async def handle(context: Context) -> None:
        context.read_ahead()
        await context.read()
        await held.wait()
        received = 1
        while await context.read() is not None:
            received += 1
        context.answer(str(received).encode())

    async with listening() as (server, port), to(port) as channel:
        server.add("/s/hold", handle)
        call = channel.stream_unary("/s/hold")(timeout=100)

        async def flood() -> None:
            nonlocal sent
            while sent < 10_000 and not held.is_set():
                await call.write(b"x" * 10_000)
                sent += 1
                goes_on.set()
            await call.done_writing()

        flooding = asyncio.create_task(flood())
        with suppress(TimeoutError):
            while sent < 10_000:  # or until nothing more is taken for a second
                goes_on.clear()
                await asyncio.wait_for(goes_on.wait(), 1)
        assert 1 <= sent < 10_000
        held.set()
        await flooding
        assert int(await call) == sent


async def test_messages_gather_where_there_is_no_hurry() -> None:
    """Those of a stream that is read ahead; of others each is looked at when it comes."""
    asked = {"not": 0, "ahead": 0}
    which = "not"

    def patience() -> float:
        asked[which] += 1
        return 0.0

    async def echo(context: Context) -> None:
        while (content := await context.read()) is not None:
            await context.write(content)
        context.end()

    server = Server([("grpc.so_reuseport", 0)], patience)
    port = server.add_port("127.0.0.1:0", None)
    server.add("/s/not", echo)
    server.add("/s/ahead", echo_ahead)
    server.start()
    async with to(port) as channel:
        for which in asked:
            call = channel.stream_stream(f"/s/{which}")(timeout=20)
            for _ in range(50):
                await call.write(b"a")
                assert await call.read() == b"a"
            await call.done_writing()
            await call.code()
    await server.stop(0)
    assert asked["not"] <= 1  # its arrival
    assert asked["ahead"] > 1  # seen together with something else it is not asked for


async def test_writer_of_a_caller_who_left_is_cancelled() -> None:
    """Also where messages wait to be sent."""
    ended = asyncio.Event()

    async def handle(context: Context) -> None:
        try:
            while True:
                await context.write(b"x" * 10_000)
        finally:
            ended.set()

    async with listening() as (server, port), to(port) as channel:
        server.add("/s/flood", handle)
        call = channel.unary_stream("/s/flood")(b"", timeout=100)
        assert len(await call.read()) == 10_000
        call.cancel()
        await asyncio.wait_for(ended.wait(), 20)
        assert ended.is_set()


async def test_after_the_end_of_a_call_nobody_waits() -> None:
    """Where the core has nothing any more to do something for: no message comes, what is put in is dropped."""
    loop, ended = asyncio.get_running_loop(), asyncio.Event()

    def post(function: Callable[[], None]) -> None:
        loop.call_soon(function)

    inbox = Inbox(loop, post, lambda *_: False, 100)
    assert await asyncio.wait_for(inbox.take(), 20) is None
    outbox = Outbox(loop, post, lambda *_: False, tuple)
    for _ in range(10):
        await asyncio.wait_for(outbox.put(b"x" * 100_000), 20)
    outbox.when_sent(ended.set)
    await asyncio.wait_for(ended.wait(), 20)
    assert ended.is_set()
