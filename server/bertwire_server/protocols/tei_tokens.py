"""Tokens by text-embeddings-inference's `tei.v1`, specified in `tei.proto`."""

from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from functools import partial

from bertwire.tei import tei_pb2 as pb
from bertwire.tei.tei_pb2_grpc import TokenizeServicer
from bertwire_runtime.tokenizer import Token
from bertwire_server.inference import Inference
from bertwire_server.protocols.deadlines import deadline
from bertwire_server.protocols.streams import StreamLimits, counted, in_order
from bertwire_server.protocols.tei_vectors import refuse_prompt
from bertwire_server.query import Query
from bertwire_server.rpc import Context
from bertwire_server.telemetry.metrics import Metrics

# Most unanswered texts of a stream, each of which takes up to 70 bytes a character. Doubled, the streams take twice the
# memory, and long texts of other calls wait twice as long; halved, no text is tokenized while another is sent.
_OPEN = 2


class TeiTokenize(TokenizeServicer):
    """The service of tokens, one text per message."""

    def __init__(self, inference: Inference, limits: StreamLimits, metrics: Metrics) -> None:
        self._inference, self._limits, self._metrics = inference, limits, metrics

    async def Tokenize(self, request: pb.EncodeRequest, context: Context) -> pb.EncodeResponse:  # noqa: N802
        """Tokenize one text."""
        return await self._answer(request, deadline(context))

    def TokenizeStream(  # noqa: N802
        self, requests: AsyncIterator[pb.EncodeRequest], context: Context
    ) -> AsyncGenerator[pb.EncodeResponse, None]:
        """Tokenize a stream of texts."""
        answer = counted(partial(self._answer, until=deadline(context)), self._metrics, self._limits)
        return in_order(requests, answer, min(self._limits.requests, _OPEN))

    async def _answer(self, request: pb.EncodeRequest, until: float | None) -> pb.EncodeResponse:
        refuse_prompt(request)
        query = Query([request.inputs], deadline=until)
        with self._inference.lease("", "", query.texts, any_kind=True) as model:
            return await model.tokens(query, partial(_response, request.inputs), special=request.add_special_tokens)


def _response(text: str, tokens: Iterator[Token]) -> pb.EncodeResponse:
    response = pb.EncodeResponse()
    response.tokens.extend(_message(text, each) for each in tokens)
    return response


def _message(text: str, token: Token) -> pb.SimpleToken:
    if token.special:
        return pb.SimpleToken(id=token.id, text=token.name, special=True)
    return pb.SimpleToken(id=token.id, text=text[token.start : token.end], start=token.start, stop=token.end)
