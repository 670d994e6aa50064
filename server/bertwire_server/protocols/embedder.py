"""The `bertwire.v1.Embedder` service, specified in `embedder.proto`."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import aclosing
from functools import partial

from bertwire.v1 import embedder_pb2 as pb
from bertwire.v1.embedder_pb2_grpc import EmbedderServicer
from bertwire_runtime.bundle import Manifest
from bertwire_runtime.vectors import vector_of
from bertwire_server.errors import InvalidRequest, RequestError
from bertwire_server.inference import Inference
from bertwire_server.protocols.deadlines import deadline
from bertwire_server.protocols.identified import answered, failure_of
from bertwire_server.protocols.messages import VALUES_PER_TURN, fill_times, priority, truncation
from bertwire_server.protocols.streams import StreamLimits, answers, counted
from bertwire_server.query import Prediction, Query
from bertwire_server.rpc import Context
from bertwire_server.telemetry.metrics import Metrics


class Embedder(EmbedderServicer):
    """The service's methods."""

    def __init__(self, inference: Inference, limits: StreamLimits, metrics: Metrics) -> None:
        self._inference, self._limits, self._metrics = inference, limits, metrics

    async def Embed(self, request: pb.EmbedRequest, context: Context) -> pb.EmbedResponse:  # noqa: N802
        """Embed the texts of one request."""
        return await self._embed(request, deadline(context))

    async def EmbedStream(  # noqa: N802
        self, request_iterator: AsyncIterator[pb.EmbedStreamRequest], context: Context
    ) -> AsyncGenerator[pb.EmbedStreamResponse, None]:
        """Embed a stream of requests."""
        answer = partial(answered, until=deadline(context), answer=self._embed)
        embed = counted(answer, self._metrics, self._limits)

        async def handle(message: pb.EmbedStreamRequest) -> pb.EmbedStreamResponse:
            try:
                return pb.EmbedStreamResponse(id=message.id, response=await embed(message))
            except RequestError as error:
                return pb.EmbedStreamResponse(id=message.id, failure=failure_of(error))

        async with aclosing(answers(request_iterator, handle, self._limits.requests)) as answering:
            async for each in answering:
                yield each

    async def _embed(self, request: pb.EmbedRequest, until: float | None) -> pb.EmbedResponse:
        self._inference.check_count(len(request.texts))
        query = Query(
            texts=list(request.texts),
            model=request.model,
            version=request.model_version,
            priority=priority(request.priority),
            deadline=until,
            truncation=truncation(request.truncation),
        )
        dimensions = request.dimensions if request.HasField("dimensions") else None
        found = await self._inference.predict(query, partial(require_vectors, dimensions=dimensions))
        return await _response(found.model.manifest, found.predictions, dimensions, normalize=request.normalize)


def require_vectors(manifest: Manifest, dimensions: int | None = None) -> None:
    """Raise `InvalidRequest` where the model gives no vectors, or none of so many dimensions."""
    if manifest.embedding is None:
        raise InvalidRequest("the model gives no embeddings; ask bertwire.v1.Classifier")
    most = manifest.embedding.dimensions
    if dimensions is not None and not 1 <= dimensions <= most:
        raise InvalidRequest(f"dimensions is {dimensions}; it must be 1 to {most}, or unset for all of them")


async def _response(
    manifest: Manifest, predictions: Sequence[Prediction], dimensions: int | None, *, normalize: bool
) -> pb.EmbedResponse:
    """Return the response, yielding to the event loop while building a large one."""
    response, built = pb.EmbedResponse(model=manifest.name, model_version=manifest.version), 0
    for each in predictions:
        embedding = response.embeddings.add()
        fill_times(embedding, each)
        embedding.values.extend(vector_of(manifest, each.output, dimensions, normalize=normalize).tolist())
        built += len(embedding.values)
        if built >= VALUES_PER_TURN:
            built = 0
            await asyncio.sleep(0)
    return response
