"""Vectors and ranks by text-embeddings-inference's `tei.v1`, specified in `tei.proto`."""

from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from dataclasses import replace
from functools import partial
from time import perf_counter
from typing import NoReturn

import numpy as np

from bertwire.tei import tei_pb2 as pb
from bertwire.tei.tei_pb2_grpc import EmbedServicer, RerankServicer
from bertwire_runtime.bundle import Manifest
from bertwire_runtime.output import Floats, best
from bertwire_runtime.tokenizer import Text
from bertwire_runtime.vectors import resized, vector_of
from bertwire_server.errors import InvalidRequest, NoSuchMethod
from bertwire_server.inference import Answered, Inference
from bertwire_server.model.model import Model
from bertwire_server.protocols.catalog import Catalog
from bertwire_server.protocols.deadlines import deadline
from bertwire_server.protocols.embedder import require_vectors
from bertwire_server.protocols.streams import StreamLimits, counted, in_order
from bertwire_server.protocols.tei import metadata, reranks, truncation
from bertwire_server.query import Prediction, Query
from bertwire_server.rpc import Context
from bertwire_server.telemetry.metrics import Metrics

_NO_SPARSE = "the server has no sparse vectors; Embed gives dense ones"
_NO_TOKENS = "the server's models pool inside, and have no vectors of single tokens; Embed gives that of the text"


class TeiEmbed(EmbedServicer):
    """The service of vectors, one text per message."""

    def __init__(self, inference: Inference, limits: StreamLimits, metrics: Metrics) -> None:
        self._inference, self._limits, self._metrics = inference, limits, metrics

    async def Embed(self, request: pb.EmbedRequest, context: Context) -> pb.EmbedResponse:  # noqa: N802
        """Embed one text."""
        return await self._answer(request, deadline(context))

    def EmbedStream(  # noqa: N802
        self, requests: AsyncIterator[pb.EmbedRequest], context: Context
    ) -> AsyncGenerator[pb.EmbedResponse, None]:
        """Embed a stream of texts."""
        answer = counted(partial(self._answer, until=deadline(context)), self._metrics, self._limits)
        return in_order(requests, answer, self._limits.requests)

    async def EmbedSparse(self, request: pb.EmbedSparseRequest, context: Context) -> NoReturn:  # noqa: N802, ARG002
        """Refuse."""
        raise NoSuchMethod(_NO_SPARSE)

    def EmbedSparseStream(self, requests: AsyncIterator[pb.EmbedSparseRequest], context: Context) -> NoReturn:  # noqa: N802, ARG002
        """Refuse."""
        raise NoSuchMethod(_NO_SPARSE)

    async def EmbedAll(self, request: pb.EmbedAllRequest, context: Context) -> NoReturn:  # noqa: N802, ARG002
        """Refuse."""
        raise NoSuchMethod(_NO_TOKENS)

    def EmbedAllStream(self, requests: AsyncIterator[pb.EmbedAllRequest], context: Context) -> NoReturn:  # noqa: N802, ARG002
        """Refuse."""
        raise NoSuchMethod(_NO_TOKENS)

    async def _answer(self, request: pb.EmbedRequest, until: float | None) -> pb.EmbedResponse:
        start = perf_counter()
        refuse_prompt(request)
        query = Query([request.inputs], deadline=until, truncation=truncation(request))
        answered = await self._inference.predict(query, require_vectors)
        (prediction,) = answered.predictions
        vector = vector_of(answered.model.manifest, prediction.output, normalize=request.normalize)
        known = metadata(query.texts, answered.predictions, start)
        return pb.EmbedResponse(embeddings=vector.tolist(), metadata=known)


def refuse_prompt(request: pb.EmbedRequest | pb.EncodeRequest) -> None:
    """Raise `InvalidRequest` where a prompt is named."""
    if request.prompt_name:
        raise InvalidRequest(f"there is no prompt {request.prompt_name[:64]!r}; send the text with its prompt")


class TeiRerank(RerankServicer):
    """The service of ranks."""

    def __init__(self, inference: Inference, catalog: Catalog) -> None:
        self._inference, self._catalog = inference, catalog

    async def Rerank(self, request: pb.RerankRequest, context: Context) -> pb.RerankResponse:  # noqa: N802
        """Rank texts by how well they fit a query."""
        start = perf_counter()
        self._inference.check_count(len(request.texts))
        with self._catalog.lease("", "") as model:
            query = Query(_texts(request, model.manifest), deadline=deadline(context), truncation=truncation(request))
            asked = [] if model.manifest.embedding is None else await self._asked(model, request.query, query)
            answered = await self._inference.predict_by(model, query)
        scores = _scores(answered, asked, raw=request.raw_scores)
        ranks = [
            pb.Rank(index=at, score=scores[at], text=request.texts[at] if request.return_text else None)
            for at in best(scores, None)
        ]
        texts = [request.query, *query.texts] if asked else query.texts
        return pb.RerankResponse(ranks=ranks, metadata=metadata(texts, [*asked, *answered.predictions], start))

    async def _asked(self, model: Model, text: str, query: Query) -> Sequence[Prediction]:
        """Return the prediction of the text that others are ranked by, in a call of its own: errors number the others.

        Raises:
            RequestError: the call failed.
        """
        try:
            return (await self._inference.predict_by(model, replace(query, texts=[text]))).predictions
        except InvalidRequest as error:
            raise InvalidRequest(str(error).replace("texts[0]", "query", 1)) from None


def _texts(request: pb.RerankRequest, manifest: Manifest) -> list[Text]:
    """Return the texts, or pairs of the query with each; raise `InvalidRequest` where the model cannot rank."""
    if manifest.embedding is not None:
        return list(request.texts)
    if not reranks(manifest):
        raise InvalidRequest("the model gives neither embeddings nor one number for a pair of texts, so it cannot rank")
    return [(request.query, text) for text in request.texts]


def _scores(answered: Answered, asked: Sequence[Prediction], *, raw: bool) -> Floats:
    """Return the score of each text, float32 [texts]; `asked`: the prediction of the query, by cosines."""
    manifest, outputs = answered.model.manifest, [each.output for each in answered.predictions]
    if manifest.embedding is None:
        return np.array([(each.logits if raw else each.scores)[0] for each in outputs], np.float32)
    query, *texts = (
        resized(vector_of(manifest, each), normalize=True) for each in (*(each.output for each in asked), *outputs)
    )
    found: Floats = np.stack(texts) @ query
    return found
