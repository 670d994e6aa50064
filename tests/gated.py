"""A small real server behind a gate, which answers every method with the name of the client."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

import grpc
import grpc.aio

from bertwire.health import health_pb2_grpc
from bertwire.v1.classifier_pb2 import MODEL_STATE_READY, ClassifyResponse, LabelScore, Model, Result
from bertwire_server.access.gate import OPEN
from bertwire_server.access.setup import Access
from bertwire_server.edge import Edge
from bertwire_server.errors import RequestError
from bertwire_server.handlers import Guarded
from bertwire_server.protocols.health import Health
from bertwire_server.rpc import Context
from bertwire_server.telemetry.config import TelemetryConfig
from bertwire_server.telemetry.reporting import Telemetry

CLASSIFY = "/bertwire.v1.Classifier/Classify"
GET_MODEL = "/bertwire.v1.Classifier/GetModel"
NO_SCOPE = "/a.B/C"  # a method that no scope permits
LOAD = "/inference.GRPCInferenceService/RepositoryModelLoad"
LOCAL = "127.0.0.1:0"
NOBODY = Access(None, None, (), None)
Metadata = Sequence[tuple[str, str]]


class GatedServer:
    """Answers with a `ClassifyResponse` whose model is the client's name; GetModel with a model of one label.

    Attributes:
        address: where it listens, by the name localhost.
        hold: calls wait until it is set.
        inside: released by each call that has been let in.
    """

    def __init__(self, access: Access) -> None:
        self._access = access
        self.address = ""
        self.hold = asyncio.Event()
        self.hold.set()
        self.inside = asyncio.Semaphore(0)

    def handler(self, method: str) -> "grpc.RpcMethodHandler[Any, Any]":
        """Answers calls of a method."""

        async def answer(_: object, context: Context) -> bytes:
            gate, named = self._access.gate, [""]
            try:
                metadata = dict(context.invocation_metadata() or ())
                with gate.admit(method, metadata, context, named.append) if gate else OPEN:
                    self.inside.release()
                    await context.read()
                    await self.hold.wait()
            except RequestError as error:
                await context.abort(error.code, str(error))
            if method == GET_MODEL:
                return Model(state=MODEL_STATE_READY, task="single_label").SerializeToString()
            result = Result(labels=[LabelScore(label="yes", score=1.0, predicted=True)])
            return ClassifyResponse(model=named[-1], model_version="1", results=[result]).SerializeToString()

        made: Any = grpc.stream_unary_rpc_method_handler(answer)
        return made  # type: ignore[no-any-return]


@asynccontextmanager
async def gated(
    access: Access, options: Sequence[tuple[str, int]] = (), where: str = LOCAL
) -> AsyncIterator[GatedServer]:
    """Runs one, which says SERVING; it talks TLS where `access` has credentials."""
    gated, health = GatedServer(access), Health()
    health.publish({"": True})

    def add(server: grpc.aio.Server) -> None:
        for method in (CLASSIFY, GET_MODEL, LOAD, NO_SCOPE):
            service, name = method.strip("/").split("/")
            handler = grpc.method_handlers_generic_handler(service, {name: gated.handler(method)})
            server.add_generic_rpc_handlers((handler,))
        edge = Edge(None, Telemetry(TelemetryConfig()))
        health_pb2_grpc.add_HealthServicer_to_server(health, Guarded(edge, server))

    async with listening(add, options, access.credentials, where) as port:
        gated.address = f"localhost:{port}" if where == LOCAL else where
        yield gated


@asynccontextmanager
async def listening(
    add: Callable[[grpc.aio.Server], object],
    options: Sequence[tuple[str, int]] = (),
    credentials: grpc.ServerCredentials | None = None,
    where: str = LOCAL,
) -> AsyncIterator[int]:
    """Runs a server with the methods that `add` adds; gives its port."""
    server = grpc.aio.server(options=[("grpc.so_reuseport", 0), *options])
    add(server)
    port = server.add_secure_port(where, credentials) if credentials else server.add_insecure_port(where)
    await server.start()
    try:
        yield port
    finally:
        await server.stop(0)


async def who(channel: grpc.aio.Channel, method: str = CLASSIFY, metadata: Metadata = ()) -> str:
    """Calls a method and gives the name that the server knows the caller by."""
    call: Any = channel.unary_unary(method)
    answer = await call(b"", timeout=20, metadata=tuple(metadata))
    return str(ClassifyResponse.FromString(answer).model)
