"""What one connection may ask of a real grpc.aio server."""

import asyncio
from dataclasses import dataclass
from typing import Any

import grpc
import pytest

from bertwire_server.access.config import AccessConfig
from bertwire_server.access.connection import connection_options
from gated import NOBODY, GatedServer, gated, who

READY = grpc.ChannelConnectivity.READY


@dataclass(frozen=True)
class Own:
    """A channel with a connection of its own."""

    channel: grpc.aio.Channel

    @classmethod
    def to(cls, server: GatedServer, *options: tuple[str, int]) -> "Own":
        """Open one."""
        own = ("grpc.use_local_subchannel_pool", 1)
        return cls(grpc.aio.insecure_channel(server.address, [own, *options]))

    async def disconnected(self) -> None:
        """Wait until the connection has ended."""
        while (state := self.channel.get_state()) is READY:
            await asyncio.wait_for(self.channel.wait_for_state_change(state), 20)


def options(**limits: float) -> list[tuple[str, int]]:
    """Return the server's options at these limits."""
    return connection_options(AccessConfig.model_validate(limits))


async def test_large_metadata_is_refused() -> None:
    """Refuse metadata above the limit before any handler; take all below it."""
    async with gated(NOBODY, options(max_metadata_kb=8)) as server:
        channel = Own.to(server).channel
        assert await who(channel, metadata=[("x-note", "n" * 7000)]) == ""
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await who(channel, metadata=[("x-note", "n" * 9000)])
        assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED


async def test_connections_are_counted() -> None:
    """Close one connection too many; accept it once another has ended."""
    async with gated(NOBODY, options(max_connections=2)) as server:
        first, second, third = (Own.to(server) for _ in range(3))
        assert [await who(each.channel) for each in (first, second)] == ["", ""]
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await who(third.channel)
        assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
        await first.channel.close()
        call: Any = third.channel.unary_unary("/a.B/C")
        await call(b"", timeout=20, wait_for_ready=True)
        assert await who(second.channel) == ""


async def test_calls_of_a_connection_are_bounded() -> None:
    """Hold back calls above a connection's limit until others end; answer all."""
    async with gated(NOBODY, options(max_connection_calls=3)) as server:
        one, other = Own.to(server).channel, Own.to(server).channel
        # The limit reaches the client with the first answer.
        await who(one)
        await server.inside.acquire()
        server.hold.clear()
        calls = [asyncio.create_task(who(one)) for _ in range(5)]
        for _ in range(3):
            await server.inside.acquire()
        # What a second connection sends later arrives, the first one's fourth call has not.
        calls.append(asyncio.create_task(who(other)))
        await server.inside.acquire()
        assert server.inside.locked()
        server.hold.set()
        assert await asyncio.gather(*calls) == [""] * 6


@pytest.mark.parametrize("limit", ["max_connection_idle_seconds", "max_connection_age_seconds"])
async def test_old_and_idle_connections_end(limit: str) -> None:
    """End an old or idle connection, and answer the next call over a new one."""
    async with gated(NOBODY, options(**{limit: 0.05})) as server:
        own = Own.to(server)
        for _ in range(3):
            assert await who(own.channel) == ""
            await own.disconnected()


@pytest.mark.parametrize(("grace", "ends"), [({}, False), ({"max_connection_grace_seconds": 0.05}, True)])
async def test_call_may_outlast_its_connections_age(grace: dict[str, float], ends: bool) -> None:
    """Answer a call on a connection past its age; cancel it past the grace, so that no stream holds one for ever."""
    async with gated(NOBODY, options(max_connection_age_seconds=0.05, **grace)) as server:
        own = Own.to(server)
        server.hold.clear()
        call = asyncio.create_task(who(own.channel))
        if ends:
            with pytest.raises(grpc.aio.AioRpcError, match="max connection age") as caught:
                await call
            assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
            return
        await server.inside.acquire()
        await own.disconnected()
        assert not call.done()
        server.hold.set()
        assert await call == ""


@pytest.mark.parametrize(("seconds", "ends"), [(60.0, True), (0.0, False)])
async def test_pings_too_often_end_the_connection(seconds: float, ends: bool) -> None:
    """Disconnect a client that pings every 20 ms, unless it may."""
    pings = [("grpc.keepalive_time_ms", 20), ("grpc.http2.max_pings_without_data", 0)]
    async with gated(NOBODY, options(min_ping_seconds=seconds)) as server:
        own = Own.to(server, *pings)
        server.hold.clear()
        call = asyncio.create_task(who(own.channel))
        await server.inside.acquire()
        await asyncio.wait([call], timeout=0.5 if not ends else 20)
        assert call.done() is ends
        server.hold.set()
        if ends:
            error = call.exception()
            assert isinstance(error, grpc.aio.AioRpcError)
            assert error.details() == "Too many pings"
        else:
            assert await call == ""


def test_defaults_bound_everything() -> None:
    """Set every limit by default, none endless; take an age of 0 for endless."""
    defaults = dict(options())
    off = {"grpc.http.overload_protection", "grpc.http2.bdp_probe"}  # which would each set limits of its own
    assert all((0 < value < 2**31 - 1) != (name in off) for name, value in defaults.items())
    assert len(defaults) == len(options())
    assert dict(options(max_connection_age_seconds=0))["grpc.max_connection_age_ms"] == 2**31 - 1
