"""How messages of streams are received ahead and sent on, with real clients, and by hand where the core is gone."""

import asyncio
import gc
from collections.abc import Callable
from contextlib import suppress
from types import SimpleNamespace
from typing import Any

import grpc
import grpc.aio
import pytest
from grpc._cython import cygrpc  # type: ignore[attr-defined]

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
    """Those of a stream that is read ahead; of others each that somebody waits for is looked at when it comes."""
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
    assert asked["not"] <= 2  # its arrival, and the first message, if that is there before somebody waits for it
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


def contexts() -> set[Context]:
    """Those that there are; other tests may have left some."""
    return {
        each for each in gc.get_objects() if type(each) is Context
    }  # proxies may do things when asked by isinstance


async def test_contexts_go_with_their_calls() -> None:
    """Without the garbage collector: what has come, and was not read, would stay until it runs."""

    async def once(context: Context) -> None:
        assert await context.read() == b"a"
        context.answer(b"")

    async def leaves(context: Context) -> None:
        context.read_ahead()
        await context.read()
        await context.write(b"")
        await asyncio.Event().wait()

    async with listening() as (server, port), to(port) as channel:
        server.add("/s/once", once)
        server.add("/s/echo", echo_ahead)
        server.add("/s/leaves", leaves)
        gc.collect()
        before = contexts()
        gc.disable()
        try:
            for _ in range(5):
                await channel.unary_unary("/s/once")(b"a", timeout=20)
                call = channel.stream_stream("/s/echo")(iter([b"a", b"b"]), timeout=20)
                assert [await call.read(), await call.read()] == [b"a", b"b"]
                await call.code()
                call = channel.stream_stream("/s/leaves")(timeout=20)
                await call.write(b"a")
                assert await call.read() == b""
                await call.write(b"b")
                call.cancel()
            async with asyncio.timeout(20):
                while contexts() - before:  # noqa: ASYNC110 - the core says on another thread that they have ended
                    await asyncio.sleep(0.01)
        finally:
            gc.enable()


async def test_others_have_their_turn_beside_a_full_inbox() -> None:
    """Taking messages that are there already does not keep the event loop for itself."""
    core = Core()
    inbox, turns = Inbox(asyncio.get_running_loop(), core.post, core.start, 1 << 20), 0

    async def other() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    beside = asyncio.create_task(other())
    assert core.receive(inbox, [b"x"] * 200)
    for _ in range(200):
        assert await inbox.take() == b"x"
    beside.cancel()
    assert 10 <= turns <= 20


class Core:
    """Stands for gRPC's core and its thread: what was begun is done when the test says so."""

    def __init__(self) -> None:
        self.begun: list[tuple[Any, Callable[[Any], bool]]] = []
        self.posted: list[Callable[[], None]] = []

    def start(self, operations: tuple[Any, ...], done: Callable[[Any], bool]) -> bool:
        """Begins something."""
        self.begun.append((operations[-1], done))
        return True

    def post(self, function: Callable[[], None]) -> None:
        """Keeps what the event loop is to do."""
        self.posted.append(function)

    def done(self, content: bytes | None = b"") -> bool:
        """The first thing that was begun is done; gives whether that can wait."""
        operation = SimpleNamespace(message=lambda: content)
        return self.begun.pop(0)[1](SimpleNamespace(batch_operations=[operation]))

    def wake(self) -> None:
        """The event loop does what was posted."""
        while self.posted:
            self.posted.pop(0)()

    def receive(self, inbox: Inbox, contents: list[bytes | None]) -> bool:
        """Messages come as long as they are received; gives whether all were."""
        inbox._receive()
        for content in contents:
            if not self.begun:
                return False
            self.done(content)
        return True


async def test_inbox_receives_while_there_is_room() -> None:
    """One at a time; on once some were taken; nothing behind the last one. What nobody waits for is no hurry."""
    core = Core()
    inbox = Inbox(asyncio.get_running_loop(), core.post, core.start, 9000)
    assert not core.receive(inbox, [b"x" * 3000] * 4)
    assert not core.begun  # 3 times 3,256 are there
    assert await inbox.take() == b"x" * 3000
    assert len(core.begun) == 1
    core.done(b"y" * 3000)
    for expected in (b"x", b"x", b"y"):
        assert (await inbox.take() or b"")[:1] == expected
    assert len(core.begun) == 1
    assert core.done(b"z" * 9000)
    assert not core.begun
    assert (await inbox.take() or b"")[:1] == b"z"
    taking = asyncio.create_task(inbox.take())
    await asyncio.sleep(0)
    assert not core.done(b"z" * 9000)  # no more room: nothing comes with it
    core.wake()
    assert await taking
    assert core.done(None)
    assert [await inbox.take() for _ in range(2)] == [None, None]
    assert not core.begun


async def test_outbox_wakes_who_waits_when_there_is_room() -> None:
    """A message counts until it was sent; small and empty ones count for what they take."""
    core = Core()
    outbox = Outbox(asyncio.get_running_loop(), core.post, core.start, tuple)
    await outbox.put(b"x" * 100_000)
    putting = asyncio.create_task(outbox.put(b""))
    await asyncio.sleep(0)
    assert len(core.begun) == 1
    assert not putting.done()
    core.done()
    core.wake()
    await asyncio.wait_for(putting, 20)
    for _ in range(63):
        await asyncio.wait_for(outbox.put(b""), 20)
    putting = asyncio.create_task(outbox.put(b""))
    sent = outbox.all_sent()
    assert sent is not None
    for _ in range(3):
        await asyncio.sleep(0)
    assert not putting.done()
    while core.begun:
        core.done()
        core.wake()
        await asyncio.sleep(0)
    await asyncio.wait_for(putting, 20)
    await asyncio.wait_for(sent, 20)


async def test_what_is_put_together_goes_out_together() -> None:
    """All but the last are marked as followed by more, and the first of a call, which brings its headers, never is."""
    core, flags = Core(), []
    begin = iter([("headers",), (), (), (), ()])
    outbox = Outbox(asyncio.get_running_loop(), core.post, core.start, lambda: next(begin))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            "bertwire_server.transport.outbox.cygrpc.SendMessageOperation", lambda _, flag: flags.append(flag)
        )
        for burst in (3, 2):
            for _ in range(burst):
                await outbox.put(b"x")
            assert not core.begun
            await asyncio.sleep(0)
            while core.begun:
                core.done()
    more = cygrpc.WriteFlag.buffer_hint
    assert flags == [0, more, 0, more, 0]


async def test_after_the_end_of_a_call_nobody_waits() -> None:
    """Where the core has nothing any more to do something for: no message comes, what is put in is dropped."""
    loop = asyncio.get_running_loop()
    inbox = Inbox(loop, lambda _: None, lambda *_: False, 100)
    assert await asyncio.wait_for(inbox.take(), 20) is None
    outbox = Outbox(loop, lambda _: None, lambda *_: False, tuple)
    for _ in range(10):
        await asyncio.wait_for(outbox.put(b"x" * 100_000), 20)
    await outbox.put(b"x")
    sent = outbox.all_sent()
    assert sent is not None
    await asyncio.wait_for(sent, 20)
    assert outbox.all_sent() is None
