"""Metadata and labels by text-embeddings-inference's `tei.v1`, specified in `tei.proto`."""

from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from functools import partial
from importlib.metadata import version
from time import perf_counter
from typing import Any, TypeAlias

from bertwire.tei import tei_pb2 as pb
from bertwire.tei.tei_pb2_grpc import InfoServicer, PredictServicer
from bertwire_runtime.bundle import Manifest
from bertwire_runtime.heads import HEADS
from bertwire_runtime.output import best
from bertwire_runtime.tokenizer import Text
from bertwire_server.errors import InvalidRequest
from bertwire_server.inference import Answered, Inference
from bertwire_server.protocols.catalog import Catalog
from bertwire_server.protocols.deadlines import deadline
from bertwire_server.protocols.streams import StreamLimits, counted, in_order
from bertwire_server.query import Prediction, Query, Truncation
from bertwire_server.rpc import Context
from bertwire_server.telemetry.metrics import Metrics

_DTYPES = {"fp32": "float32", "fp16": "float16"}
_DIRECTIONS: dict[int, Truncation] = {
    pb.TRUNCATION_DIRECTION_RIGHT: "right",
    pb.TRUNCATION_DIRECTION_LEFT: "left",
}
_UINT32 = (1 << 32) - 1

Request: TypeAlias = pb.PredictRequest | pb.PredictPairRequest
Truncating: TypeAlias = Request | pb.EmbedRequest | pb.RerankRequest


class TeiInfo(InfoServicer):
    """The service of metadata."""

    def __init__(self, catalog: Catalog, waiting: int) -> None:
        self._catalog, self._waiting = catalog, waiting

    async def Info(self, request: pb.InfoRequest, context: Context) -> pb.InfoResponse:  # noqa: ARG002, N802 - the protocol's
        """Return the default model and the limits."""
        with self._catalog.lease("", "") as model:
            variant, limits = model.engine.variant, model.batch_limits
            return pb.InfoResponse(
                version=version("bertwire"),
                model_id=model.manifest.name,
                model_sha=variant.file.sha256,
                model_dtype=_DTYPES.get(variant.precision, variant.precision),
                model_type=_model_type(model.manifest),
                max_concurrent_requests=min(self._waiting, _UINT32),
                max_input_length=model.manifest.most_tokens,
                max_batch_tokens=limits.tokens,
                max_batch_requests=limits.texts,
                max_client_batch_size=1,
                tokenization_workers=1,
            )


class TeiPredict(PredictServicer):
    """The service of predictions, one text or pair per message."""

    def __init__(self, inference: Inference, limits: StreamLimits, metrics: Metrics) -> None:
        self._inference, self._limits, self._metrics = inference, limits, metrics

    async def Predict(self, request: pb.PredictRequest, context: Context) -> pb.PredictResponse:  # noqa: N802
        """Classify one text."""
        return await self._answer(_single, context, request)

    async def PredictPair(self, request: pb.PredictPairRequest, context: Context) -> pb.PredictResponse:  # noqa: N802
        """Classify one pair or one text."""
        return await self._answer(_pair, context, request)

    def PredictStream(  # noqa: N802
        self, requests: AsyncIterator[pb.PredictRequest], context: Context
    ) -> AsyncGenerator[pb.PredictResponse, None]:
        """Classify a stream of texts."""
        return self._stream(requests, _single, context)

    def PredictPairStream(  # noqa: N802
        self, requests: AsyncIterator[pb.PredictPairRequest], context: Context
    ) -> AsyncGenerator[pb.PredictResponse, None]:
        """Classify a stream of pairs."""
        return self._stream(requests, _pair, context)

    def _stream(
        self, requests: AsyncIterator[Any], text: Callable[[Any], Text], context: Context
    ) -> AsyncGenerator[pb.PredictResponse, None]:
        answer = counted(partial(self._answer, text, context), self._metrics, self._limits)
        return in_order(requests, answer, self._limits.requests)

    async def _answer(self, text: Callable[[Any], Text], context: Context, request: Request) -> pb.PredictResponse:
        start = perf_counter()
        asked = text(request)
        query = Query([asked], deadline=deadline(context), truncation=truncation(request))
        answered = await self._inference.predict(query, _require_labels)
        return _response(answered, metadata([asked], answered.predictions, start), raw=request.raw_scores)


def _single(request: pb.PredictRequest) -> Text:
    return request.inputs


def _pair(request: pb.PredictPairRequest) -> Text:
    match list(request.inputs):
        case [text]:
            return text
        case [first, second]:
            return first, second
        case other:
            raise InvalidRequest(f"inputs has {len(other)} texts; send one, or two for a model of pairs")


def _model_type(manifest: Manifest) -> pb.ModelType:
    if not manifest.labels:
        return pb.MODEL_TYPE_EMBEDDING
    return pb.MODEL_TYPE_RERANKER if reranks(manifest) else pb.MODEL_TYPE_CLASSIFIER


def reranks(manifest: Manifest) -> bool:
    """Whether the model gives one number for a query and a text."""
    return manifest.text_pairs and len(manifest.labels) == 1


def truncation(request: Truncating) -> Truncation:
    """Return what becomes of text past the model's limit; raise `InvalidRequest` for an unknown direction."""
    if request.truncation_direction not in _DIRECTIONS:
        number = request.truncation_direction
        raise InvalidRequest(f"truncation_direction is {number}, which means nothing; see enum TruncationDirection")
    return _DIRECTIONS[request.truncation_direction] if request.truncate else "refuse"


def _require_labels(manifest: Manifest) -> None:
    if HEADS[manifest.task].by_token:
        raise InvalidRequest("the model tags words, which tei.v1 has no message for; ask bertwire.v1.Classifier")
    if not manifest.labels:
        raise InvalidRequest("the model gives embeddings, and no labels; call tei.v1.Embed")


def _response(answered: Answered, known: pb.Metadata, *, raw: bool) -> pb.PredictResponse:
    manifest, (prediction,) = answered.model.manifest, answered.predictions
    output = prediction.output
    values = output.logits if raw else output.scores
    numbers: list[float] = values.tolist()
    return pb.PredictResponse(
        predictions=[pb.Prediction(score=numbers[place], label=manifest.labels[place]) for place in best(values, None)],
        metadata=known,
    )


def metadata(texts: Sequence[Text], predictions: Sequence[Prediction], start: float) -> pb.Metadata:
    """Return what the texts took since `start`: sums of characters and tokens, times of the slowest."""
    return pb.Metadata(
        compute_chars=sum(len(each) if isinstance(each, str) else sum(map(len, each)) for each in texts),
        compute_tokens=sum(each.output.token_count for each in predictions),
        total_time_ns=_ns(perf_counter() - start),
        tokenization_time_ns=_ns(max(each.tokenize_seconds for each in predictions)),
        queue_time_ns=_ns(max(each.queue_seconds for each in predictions)),
        inference_time_ns=_ns(max(each.run_seconds for each in predictions)),
    )


def _ns(seconds: float) -> int:
    return round(seconds * 1e9)
