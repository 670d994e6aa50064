"""`bertwire.v1.Classifier` by replicas of Ray Serve: the server's own service, behind Ray's gRPC proxy."""

from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing
from pathlib import Path
from typing import Any, NoReturn

import grpc
from ray import serve
from ray.serve import Application
from ray.serve.grpc_util import RayServegRPCContext, gRPCInputStream

from bertwire.v1 import classifier_pb2 as pb
from bertwire_runtime.bundle import Bundle
from bertwire_runtime.predictor import Predictor
from bertwire_server.call import Call, current
from bertwire_server.config import ServerConfig
from bertwire_server.explain import Explainer
from bertwire_server.inference import Inference, RequestLimits
from bertwire_server.model.model import Model, Serving
from bertwire_server.protocols.classifier import Classifier
from bertwire_server.protocols.streams import StreamLimits
from bertwire_server.repository.counted import CountedModels
from bertwire_server.repository.fleet import Fleet
from bertwire_server.repository.folder import open_source
from bertwire_server.repository.loader import Loader
from bertwire_server.repository.registry import Registry
from bertwire_server.status import abort
from bertwire_server.telemetry.metrics import Metrics


class Context:
    """What the service asks of gRPC's context, by Ray's."""

    def __init__(self, context: RayServegRPCContext) -> None:
        self._context = context

    def time_remaining(self) -> None:
        """Return None: Ray keeps the caller's deadline at its proxy, which ends the call."""

    async def abort(self, code: grpc.StatusCode, message: str, trailing: Sequence[tuple[str, str | bytes]]) -> NoReturn:
        """End the call with a status."""
        self._context.set_code(code)
        self._context.set_details(message)
        self._context.set_trailing_metadata(list(trailing))
        raise RuntimeError(message)


@serve.deployment
class Replica:
    """A bundle on one CPU. Ray calls the methods by their names in the proto."""

    async def __init__(self, bundle: str) -> None:
        """Load the bundle; raise `UserError` where it cannot be used."""
        config = ServerConfig(bundle=Path(bundle))
        metrics, registry = Metrics(), Registry()
        counted = CountedModels(metrics)

        def build(opened: Bundle) -> Model:
            return counted.build(Predictor(opened, threads=1), Serving())

        source = open_source(config.bundle, None, None)
        fleet = Fleet(source, Loader(None, build), registry, lambda _: None, counted)
        inference = Inference(registry, RequestLimits(config.max_texts, config.max_text_chars, config.max_call_chars))
        limits = StreamLimits(config.max_stream_requests, config.max_message_mb << 20)
        self._service = Classifier(inference, Explainer(inference, config.max_explain_spans), fleet, limits, metrics)
        await fleet.start()

    async def Classify(  # noqa: N802 - the protocol's name
        self, request: pb.ClassifyRequest, grpc_context: RayServegRPCContext
    ) -> pb.ClassifyResponse:
        """Classify the texts of one request."""
        return await self._answer("Classify", request, grpc_context)

    async def Explain(  # noqa: N802 - the protocol's name
        self, request: pb.ExplainRequest, grpc_context: RayServegRPCContext
    ) -> pb.ExplainResponse:
        """Explain the decision for one text."""
        return await self._answer("Explain", request, grpc_context)

    async def ListModels(  # noqa: N802 - the protocol's name
        self, request: pb.ListModelsRequest, grpc_context: RayServegRPCContext
    ) -> pb.ListModelsResponse:
        """Return all models."""
        return await self._answer("ListModels", request, grpc_context)

    async def GetModel(  # noqa: N802 - the protocol's name
        self, request: pb.GetModelRequest, grpc_context: RayServegRPCContext
    ) -> pb.Model:
        """Return one model."""
        return await self._answer("GetModel", request, grpc_context)

    async def ClassifyStream(  # noqa: N802 - the protocol's name
        self, requests: gRPCInputStream, grpc_context: RayServegRPCContext
    ) -> AsyncIterator[pb.ClassifyStreamResponse]:
        """Classify a stream of requests."""
        method = _begun("ClassifyStream")
        context: Any = Context(grpc_context)
        try:
            async with aclosing(self._service.ClassifyStream(requests, context)) as answers:
                async for each in answers:
                    yield each
        except Exception as error:
            await abort(context, method, error)

    async def _answer(self, name: str, request: Any, grpc_context: RayServegRPCContext) -> Any:  # noqa: ANN401
        method, context = _begun(name), Context(grpc_context)
        try:
            return await getattr(self._service, name)(request, context)
        except Exception as error:
            await abort(context, method, error)


def _begun(name: str) -> str:
    """Note the call for what reports on it, and return the full name of its method."""
    method = f"/bertwire.v1.Classifier/{name}"
    current.set(Call(method))
    return method


def app(args: dict[str, str]) -> Application:
    """Return the application of a bundle."""
    return Replica.bind(args["bundle"])
