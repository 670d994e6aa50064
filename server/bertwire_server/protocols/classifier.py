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
    Failure,
)
from bertwire.v1.classifier_pb2_grpc import ClassifierServicer
from bertwire_server.errors import InvalidRequest, RequestError
from bertwire_server.explain import Explainer
from bertwire_server.inference import Inference
from bertwire_server.protocols.catalog import Catalog, ModelListing
from bertwire_server.protocols.deadlines import deadline, within
from bertwire_server.protocols.explanations import explain_query, explain_response
from bertwire_server.protocols.messages import query, response
from bertwire_server.protocols.streams import StreamLimits, answers, counted
from bertwire_server.rpc import Context
from bertwire_server.status import milliseconds
from bertwire_server.telemetry.metrics import Metrics

_MAX_ID_BYTES = 128


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
        until = deadline(context)

        classify = counted(partial(self._classify_message, until=until), self._metrics, self._limits)

        async def handle(message: ClassifyStreamRequest) -> ClassifyStreamResponse:
            try:
                return ClassifyStreamResponse(id=message.id, response=await classify(message))
            except RequestError as error:
                failure = Failure(code=error.code.value[0], message=str(error))
                if error.retry_after is not None:
                    failure.retry_after_ms = milliseconds(error.retry_after)
                return ClassifyStreamResponse(id=message.id, failure=failure)

        async with aclosing(answers(request_iterator, handle, self._limits.requests)) as answered:
            async for answer in answered:
                yield answer

    async def _classify_message(self, message: ClassifyStreamRequest, until: float | None) -> ClassifyResponse:
        if len(message.id.encode()) > _MAX_ID_BYTES:
            raise InvalidRequest(f"the id has more than {_MAX_ID_BYTES} bytes; choose a shorter one")
        if not message.HasField("timeout_ms"):
            return await self._classify(message.request, until)
        if message.timeout_ms < 1:
            raise InvalidRequest(f"timeout_ms is {message.timeout_ms}; it must be at least 1, or unset")
        what, answer = f"timeout_ms of {message.timeout_ms}", partial(self._classify, message.request)
        return await within(message.timeout_ms / 1e3, what, until, answer)

    async def _classify(self, request: ClassifyRequest, until: float | None) -> ClassifyResponse:
        self._inference.check_count(len(request.texts))
        asked = query(request, until)
        answered = await self._inference.predict(asked)
        return await response(answered.model.manifest, answered.predictions, request, asked.thresholds)
