"""The health service, over a real channel."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import grpc
import grpc.aio

from bertwire.health import health_pb2, health_pb2_grpc
from bertwire_server.edge import Edge
from bertwire_server.handlers import Guarded
from bertwire_server.protocols.health import Health
from bertwire_server.telemetry.config import TelemetryConfig
from bertwire_server.telemetry.reporting import Telemetry
from gated import listening

SERVING, NOT_SERVING = health_pb2.HealthCheckResponse.SERVING, health_pb2.HealthCheckResponse.NOT_SERVING
UNKNOWN = health_pb2.HealthCheckResponse.SERVICE_UNKNOWN


@asynccontextmanager
async def asked(health: Health) -> AsyncIterator[health_pb2_grpc.HealthStub]:
    """Yield a client of the service."""
    edge = Edge(None, Telemetry(TelemetryConfig()))
    async with (
        listening(lambda server: health_pb2_grpc.add_HealthServicer_to_server(health, Guarded(edge, server))) as port,
        grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel,
    ):
        yield health_pb2_grpc.HealthStub(channel)


async def test_every_watch_sees_every_lasting_change() -> None:
    """Report each change to every watch, past the end of another, and NOT_SERVING once closed."""
    health = Health()
    request = health_pb2.HealthCheckRequest(service="mood")
    async with asked(health) as stub:
        first, second = stub.Watch(request), stub.Watch(request)
        for each in (first, second):
            assert (await each.read()).status == UNKNOWN
        first.cancel()
        for serving, status in [({"mood": True}, SERVING), ({}, UNKNOWN), ({"mood": False}, NOT_SERVING)]:
            health.publish(serving)
            assert (await second.read()).status == status
        health.publish({"mood": True})
        assert (await second.read()).status == SERVING
        health.close()
        assert (await second.read()).status == NOT_SERVING
        health.publish({"mood": True})
        assert (await stub.Check(request)).status == NOT_SERVING
        second.cancel()


async def test_list_has_every_name() -> None:
    """List the status of each name that Check knows."""
    health = Health()
    health.publish({"": True, "mood": True, "topic": False})
    async with asked(health) as stub:
        for serving in (SERVING, NOT_SERVING):
            listed = (await stub.List(health_pb2.HealthListRequest())).statuses
            assert {name: each.status for name, each in listed.items()} == {
                "": serving,
                "mood": serving,
                "topic": NOT_SERVING,
            }
            health.close()
