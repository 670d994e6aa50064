"""A small real grpc.aio server behind a gate, which answers every method with the name of the client."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc

from bertwire.v1.classifier_pb2 import MODEL_STATE_READY, ClassifyResponse, LabelScore, Model, Result
from bertwire_server.access.gate import OPEN
from bertwire_server.access.setup import Access
from bertwire_server.errors import RequestError

CLASSIFY = "/bertwire.v1.Classifier/Classify"
LOAD = "/inference.GRPCInferenceService/RepositoryModelLoad"
NOBODY = Access(None, None, (), None)
Metadata = Sequence[tuple[str, str]]


class GatedServer(grpc.GenericRpcHandler):
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

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> Any:  # noqa: ANN401 - gRPC's
        """The one handler, of any method but those of health."""
        method = handler_call_details.method
        # Health has a real servicer.
        if method.startswith("/grpc.health."):
            return None

        async def call(_: bytes, context: grpc.aio.ServicerContext[bytes, bytes]) -> bytes:
            metadata = dict(context.invocation_metadata() or ())
            try:
                admission = self._access.gate.admit(method, metadata, context) if self._access.gate else OPEN
                with admission:
                    self.inside.release()
                    await self.hold.wait()
            except RequestError as error:
                await context.abort(error.code, str(error))
            if method.endswith("/GetModel"):
                return Model(state=MODEL_STATE_READY, task="single_label").SerializeToString()
            result = Result(labels=[LabelScore(label="yes", score=1.0, predicted=True)])
            return ClassifyResponse(model=admission.client, model_version="1", results=[result]).SerializeToString()

        return grpc.unary_unary_rpc_method_handler(call)


@asynccontextmanager
async def gated(access: Access, options: Sequence[tuple[str, int]] = ()) -> AsyncIterator[GatedServer]:
    """Runs one, which says SERVING; it talks TLS where `access` has credentials."""
    server = grpc.aio.server(options=[("grpc.so_reuseport", 0), *options])
    handler = GatedServer(access)
    server.add_generic_rpc_handlers((handler,))
    watch = health.aio.HealthServicer()
    await watch.set("", health_pb2.HealthCheckResponse.SERVING)
    health_pb2_grpc.add_HealthServicer_to_server(watch, server)
    if access.credentials is None:
        port = server.add_insecure_port("127.0.0.1:0")
    else:
        port = server.add_secure_port("127.0.0.1:0", access.credentials)
    handler.address = f"localhost:{port}"
    await server.start()
    try:
        yield handler
    finally:
        await server.stop(0)


async def who(channel: grpc.aio.Channel, method: str = CLASSIFY, metadata: Metadata = ()) -> str:
    """Calls a method and gives the name that the server knows the caller by."""
    call: Any = channel.unary_unary(method)
    answer = await call(b"", timeout=20, metadata=tuple(metadata))
    return str(ClassifyResponse.FromString(answer).model)
