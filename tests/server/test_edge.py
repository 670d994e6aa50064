"""What stands between gRPC and a method."""

from collections.abc import AsyncIterator
from typing import Any

import grpc
import grpc.aio
import pytest

from bertwire_server.edge import Edge
from bertwire_server.handlers import Guarded
from bertwire_server.telemetry.config import TelemetryConfig
from bertwire_server.telemetry.reporting import Telemetry
from gated import listening


async def test_answer_that_is_too_large() -> None:
    """The caller is told what to do about it, and a stream's answers before it have been given."""

    async def repeat(request: bytes, _: object) -> bytes:
        return request * 100

    async def repeat_each(requests: AsyncIterator[bytes], _: object) -> AsyncIterator[bytes]:
        async for request in requests:
            yield request * 100

    methods: dict[str, Any] = {
        "one": grpc.unary_unary_rpc_method_handler(repeat, bytes, bytes),
        "each": grpc.stream_stream_rpc_method_handler(repeat_each, bytes, bytes),
    }
    edge = Edge(None, Telemetry(TelemetryConfig()), most_bytes=1000)

    def add(server: grpc.aio.Server) -> None:
        Guarded(edge, server).add_registered_method_handlers("s", methods)

    async with listening(add) as port, grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        opened: Any = channel
        one = opened.unary_unary("/s/one")
        assert await one(b"x" * 10, timeout=20) == b"x" * 1000
        with pytest.raises(grpc.aio.AioRpcError, match="1100 bytes, and at most 1000 can be sent") as got:
            await one(b"x" * 11, timeout=20)
        assert got.value.code() is grpc.StatusCode.INVALID_ARGUMENT
        call = opened.stream_stream("/s/each")(iter([b"x", b"x" * 11]), timeout=20)
        assert await call.read() == b"x" * 100
        assert await call.code() is grpc.StatusCode.INVALID_ARGUMENT
