"""The `bertwire.v1.Classifier` service, specified in `classifier.proto`."""

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from functools import partial

from bertwire.v1.classifier_pb2 import (
    ClassifyRequest,
    ClassifyResponse,
    ClassifyStreamRequest,
    ClassifyStreamResponse,
    ExplainRequest,
    ExplainResponse,
)
from bertwire.v1.classifier_pb2_grpc import ClassifierServicer
from bertwire_server.errors import RequestError
from bertwire_server.explain import Explainer
from bertwire_server.inference import Inference
from bertwire_server.protocols.catalog import Catalog, ModelListing
from bertwire_server.protocols.deadlines import deadline
from bertwire_server.protocols.explanations import explain_query, explain_response
from bertwire_server.protocols.identified import answered, failure_of
from bertwire_server.protocols.messages import query, require_labels, response
from bertwire_server.protocols.streams import StreamLimits, answers, counted
from bertwire_server.rpc import Context
from bertwire_server.telemetry.metrics import Metrics


class Classifier(ModelListing, ClassifierServicer):
    """The service's methods."""

    def __init__(
        self, inference: Inference, explainer: Explainer, catalog: Catalog, limits: StreamLimits, metrics: Metrics
    ) -> None:
        super().__init__(catalog)
        self._inference, self._explainer = inference, explainer
        self._limits, self._metrics = limits, metrics

    async def Classify(  # noqa: N802 - the protocol's name
        self, request: ClassifyRequest, context: Context
    ) -> ClassifyResponse:
        """Classify the texts of one request."""
        return await self._classify(request, deadline(context))

    async def Explain(  # noqa: N802 - the protocol's name
        self, request: ExplainRequest, context: Context
    ) -> ExplainResponse:
        """Explain the decision for one text."""
        max_spans = request.max_spans if request.HasField("max_spans") else None
        query = explain_query(request, deadline(context))
        return explain_response(await self._explainer.explain(query, request.label, max_spans))

    async def ClassifyStream(  # noqa: N802 - the protocol's name
        self,
        request_iterator: AsyncIterator[ClassifyStreamRequest],
        context: Context,
    ) -> AsyncGenerator[ClassifyStreamResponse, None]:
        """Classify a stream of requests."""
        answer = partial(answered, until=deadline(context), answer=self._classify)
        classify = counted(answer, self._metrics, self._limits)

        async def handle(message: ClassifyStreamRequest) -> ClassifyStreamResponse:
            try:
                return ClassifyStreamResponse(id=message.id, response=await classify(message))
            except RequestError as error:
                return ClassifyStreamResponse(id=message.id, failure=failure_of(error))

        async with aclosing(answers(request_iterator, handle, self._limits.requests)) as answering:
            async for each in answering:
                yield each

    async def _classify(self, request: ClassifyRequest, until: float | None) -> ClassifyResponse:
        self._inference.check_count(len(request.texts))
        asked = query(request, until)
        found = await self._inference.predict(asked, require_labels)
        return await response(found.model.manifest, found.predictions, request, asked.thresholds)
