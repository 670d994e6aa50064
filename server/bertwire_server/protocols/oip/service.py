"""The service `inference.GRPCInferenceService`: the Open Inference Protocol v2 in Triton's dialect."""

from collections.abc import AsyncGenerator, AsyncIterator, Callable

from bertwire.oip import inference_pb2 as pb
from bertwire.oip.inference_pb2_grpc import GRPCInferenceServiceServicer
from bertwire_server.errors import ModelNotFound, NotReady
from bertwire_server.inference import Inference
from bertwire_server.protocols.catalog import Catalog, ModelLoader
from bertwire_server.protocols.deadlines import deadline
from bertwire_server.protocols.oip.describe import model_config, model_metadata, server_metadata
from bertwire_server.protocols.oip.infer import Inferrer
from bertwire_server.protocols.oip.repository import RepositoryCalls
from bertwire_server.protocols.oip.statistics import Statistics
from bertwire_server.protocols.oip.stream import Streams
from bertwire_server.protocols.streams import StreamLimits
from bertwire_server.rpc import Context
from bertwire_server.telemetry.metrics import Metrics


class OpenInference(RepositoryCalls, GRPCInferenceServiceServicer):
    """The service's methods, specified in `inference.proto`."""

    def __init__(
        self,
        inference: Inference,
        catalog: Catalog,
        loader: ModelLoader,
        max_texts: int,
        limits: StreamLimits,
        metrics: Metrics,
        *,
        stopping: Callable[[], bool],
        allow_timeout_override: bool,
    ) -> None:
        """Create the service.

        Args:
            inference: answers queries.
            catalog: the models.
            loader: loads and unloads models.
            max_texts: most texts of a call, reported as the largest batch.
            limits: limits of a stream.
            metrics: counts each request of a stream.
            stopping: whether the server is shutting down: it then reports not ready, though it still answers.
            allow_timeout_override: whether a request's own timeout applies; Triton ignores it unless configured.
        """
        super().__init__(catalog, loader)
        self.statistics = Statistics()
        self._max_texts, self._stopping = max_texts, stopping
        self._allow_timeout_override = allow_timeout_override
        self._inferrer = Inferrer(inference, catalog, self.statistics, allow_timeout_override=allow_timeout_override)
        self._streams = Streams(self._inferrer, limits, metrics)

    async def ServerLive(self, request: pb.ServerLiveRequest, context: Context) -> pb.ServerLiveResponse:  # noqa: N802, ARG002
        """Return that the process is live."""
        return pb.ServerLiveResponse(live=True)

    async def ServerReady(self, request: pb.ServerReadyRequest, context: Context) -> pb.ServerReadyResponse:  # noqa: N802, ARG002
        """Return whether a model is ready and the server is not stopping."""
        return pb.ServerReadyResponse(ready=not self._stopping() and bool(self.ready()))

    async def ModelReady(self, request: pb.ModelReadyRequest, context: Context) -> pb.ModelReadyResponse:  # noqa: N802, ARG002
        """Return whether the named model is ready and the server is not stopping."""
        try:
            with self._catalog.lease(request.name, request.version):
                return pb.ModelReadyResponse(ready=not self._stopping())
        except (ModelNotFound, NotReady):
            return pb.ModelReadyResponse(ready=False)

    async def ServerMetadata(self, request: pb.ServerMetadataRequest, context: Context) -> pb.ServerMetadataResponse:  # noqa: N802, ARG002
        """Return the server's metadata."""
        return server_metadata()

    async def ModelMetadata(self, request: pb.ModelMetadataRequest, context: Context) -> pb.ModelMetadataResponse:  # noqa: N802, ARG002
        """Return a model's metadata."""
        with self._catalog.lease(request.name, request.version) as model:
            versions = [each.version for each in self.ready() if each.name == model.manifest.name]
            return model_metadata(model.manifest, versions)

    async def ModelConfig(self, request: pb.ModelConfigRequest, context: Context) -> pb.ModelConfigResponse:  # noqa: N802, ARG002
        """Return a model's configuration."""
        with self._catalog.lease(request.name, request.version) as model:
            config = model_config(model, self._max_texts, allow_timeout_override=self._allow_timeout_override)
            return pb.ModelConfigResponse(config=config)

    async def ModelStatistics(self, request: pb.ModelStatisticsRequest, context: Context) -> pb.ModelStatisticsResponse:  # noqa: N802, ARG002
        """Return the statistics of one model or all."""
        if request.version:
            with self._catalog.lease(request.name, request.version) as model:
                return pb.ModelStatisticsResponse(model_stats=[self.statistics.message(model)])
        found = [each.model for each in self.ready() if request.name in ("", each.name)]
        if request.name and not found:
            raise ModelNotFound(f"no model {request.name[:64]!r} is ready here; RepositoryIndex lists those that are")
        return pb.ModelStatisticsResponse(model_stats=[self.statistics.message(each) for each in found if each])

    async def ModelInfer(self, request: pb.ModelInferRequest, context: Context) -> pb.ModelInferResponse:  # noqa: N802
        """Classify the texts of one request."""
        return await self._inferrer.infer(request, deadline(context))

    def ModelStreamInfer(  # noqa: N802
        self, request_iterator: AsyncIterator[pb.ModelInferRequest], context: Context
    ) -> AsyncGenerator[pb.ModelStreamInferResponse, None]:
        """Classify a stream of requests."""
        return self._streams.infer(request_iterator, context)
