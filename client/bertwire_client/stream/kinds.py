"""What streams send and get: texts to classify, or to embed."""

from collections.abc import Sequence
from typing import Any, Protocol

from bertwire.v1.classifier_pb2 import ClassifyStreamRequest
from bertwire.v1.embedder_pb2 import EmbedStreamRequest
from bertwire_client.replies import Answer, EmbedAnswer
from bertwire_client.requests import EmbedOptions, Options, Request, embed_request
from bertwire_client.wire import parse_embeddings, parse_reply


class Kind(Protocol):
    """A kind of stream."""

    def message(self, item: Any, index: int) -> Any:  # noqa: ANN401 - a message with id, request and timeout_ms
        """Return the message of an item; raise `TypeError` or `ValueError` where there can be none."""

    def reply(self, response: Any, texts: int) -> Any:  # noqa: ANN401 - one of `replies.py`
        """Return the reply to a request of `texts` texts; raise `RequestError` where it is wrong."""

    def answer(self, index: int, outcome: Any) -> Any:  # noqa: ANN401 - as above
        """Return the answer to the item of that index."""


class ClassifyKind:
    """A `Kind`: items are texts, with these options, or requests."""

    def __init__(self, options: Options) -> None:
        """Raise `TypeError` or `ValueError` for invalid options before the first item."""
        Request([], **options).message()
        self._options = options

    def message(self, item: str | Request, index: int) -> ClassifyStreamRequest:
        """Return the message of a text or a request."""
        if not isinstance(item, str | Request):
            raise TypeError(f"item {index} of the stream is neither a text nor a Request but {type(item).__name__}")
        request = item if isinstance(item, Request) else Request([item], **self._options)
        return ClassifyStreamRequest(id=str(index), request=request.message())

    reply = staticmethod(parse_reply)
    answer = Answer


class EmbedKind:
    """A `Kind`: items are texts, or lists of texts that are sent in one message, with these options."""

    def __init__(self, options: EmbedOptions) -> None:
        """Raise `TypeError` or `ValueError` for invalid options before the first item."""
        embed_request([], options)
        self._options = options

    def message(self, item: str | Sequence[str], index: int) -> EmbedStreamRequest:
        """Return the message of a text or of several."""
        if not isinstance(item, str | list | tuple):
            raise TypeError(f"item {index} of the stream is no text and no list of texts but {type(item).__name__}")
        request = embed_request([item] if isinstance(item, str) else item, self._options)
        return EmbedStreamRequest(id=str(index), request=request)

    reply = staticmethod(parse_embeddings)
    answer = EmbedAnswer
