"""Client for threads."""

import time
from collections.abc import Callable, Generator, Iterable, Sequence
from functools import partial
from typing import Any, Self, Unpack

import grpc

from bertwire.v1.classifier_pb2 import GetModelRequest, ListModelsRequest
from bertwire.v1.classifier_pb2_grpc import ClassifierStub
from bertwire.v1.embedder_pb2_grpc import EmbedderStub
from bertwire_client.channel import Credential, check_address, check_credentials, is_balanced, with_credential
from bertwire_client.hedging import check_delay, hedged
from bertwire_client.replies import Answer, EmbedAnswer, EmbedReply, Explanation, ModelInfo, Reply
from bertwire_client.requests import (
    EmbedOptions,
    ExplainOptions,
    Metadata,
    Options,
    Request,
    checked,
    embed_request,
    explain_request,
    refuse_single,
)
from bertwire_client.retries import seconds_to_retry
from bertwire_client.stream.kinds import ClassifyKind, EmbedKind
from bertwire_client.stream.ledger import MAX_IN_FLIGHT, Ledger
from bertwire_client.stream.threads import stream
from bertwire_client.tracing import traced
from bertwire_client.wire import (
    DEFAULT_ATTEMPTS,
    DEFAULT_TIMEOUT,
    channel_options,
    parse_embeddings,
    parse_error,
    parse_explanation,
    parse_model,
    parse_reply,
)


class Client:
    """A thread-safe connection to a bertwire server.

    Args:
        address: the server's `host:port`, or `unix:PATH`; anything else raises `UserError`. Calls to
            `dns:///host:port`, or `ipv4:HOST:PORT,HOST:PORT`, take turns between all servers that these name.
        timeout: deadline of a call in seconds, retries included.
        attempts: most tries of a call, 1 to 5, on UNAVAILABLE; also most rounds of these on RESOURCE_EXHAUSTED with a
            retry delay.
        credentials: TLS credentials, for example from `tls_credentials`; None: plaintext.
        api_key: sent with every call.
        token: a JWT in place of `api_key`, or a function that returns the current one.
        hedge_after: seconds after which `classify` and `embed` send a call without an answer once more, and take the
            first answer; None: never. Of use where the address names several servers.
        wait_for_ready: whether calls wait for a connection within their timeout, instead of failing with UNAVAILABLE.
    """

    def __init__(
        self,
        address: str,
        *,
        timeout: float = DEFAULT_TIMEOUT,
        attempts: int = DEFAULT_ATTEMPTS,
        credentials: grpc.ChannelCredentials | None = None,
        api_key: str | None = None,
        token: Credential | None = None,
        hedge_after: float | None = None,
        wait_for_ready: bool = False,
    ) -> None:
        check_address(address)
        check_delay(hedge_after)
        check_credentials(credentials)
        options = channel_options(attempts, balanced=is_balanced(address), wait_for_ready=wait_for_ready)
        if credentials is None:
            self._channel = grpc.insecure_channel(address, options)
        else:
            self._channel = grpc.secure_channel(address, credentials, options)
        self._authorized = with_credential(self._channel, api_key, token)
        self._stub, self._embedder = ClassifierStub(self._authorized), EmbedderStub(self._authorized)
        self._classify = hedged(self._stub.Classify, hedge_after)
        self._embed = hedged(self._embedder.Embed, hedge_after)
        self._timeout, self._attempts = timeout, attempts
        self._closed = False

    def classify(
        self,
        texts: Sequence[str],
        *,
        text_pairs: Sequence[str] | None = None,
        timeout: float | None = None,
        metadata: Metadata = (),
        **options: Unpack[Options],
    ) -> Reply:
        """Classify texts in one call.

        Args:
            texts: one or many texts; the server limits number and length.
            text_pairs: for a text pair model the second text of each.
            timeout: deadline of this call in seconds, retries included; None: the client's.
            metadata: gRPC metadata, such as [("x-request-id", "7f3a")], the id in the server's log.
            **options: top_k, logits, model, model_version, threshold, thresholds, truncation and priority, see
                `Request`.

        Returns:
            A reply with one result per text, in order.

        Raises:
            RequestError: the call failed; subclass and `code` tell how.
            TypeError: `texts` is a single string, or holds something that is not a string.
            ValueError: a text cannot be encoded as UTF-8, or an option, metadata or token is invalid.
        """
        message = Request(texts, text_pairs, **options).message()
        return parse_reply(self._call(self._classify, message, timeout, checked(metadata)), len(message.texts))

    def embed(
        self,
        texts: Sequence[str],
        *,
        timeout: float | None = None,
        metadata: Metadata = (),
        **options: Unpack[EmbedOptions],
    ) -> Any:  # noqa: ANN401 - an array, or lists
        """Return the vectors of texts, by a model that gives embeddings.

        Args:
            texts: one or many texts; the server limits number and length.
            timeout: deadline of this call in seconds, retries included; None: the client's.
            metadata: as of `classify`.
            **options: dimensions, how many of the first numbers of each vector to return, by default all; normalize,
                whether to give the vectors of a model that does not normalize the length 1; model, model_version,
                truncation and priority as of `Request`.

        Returns:
            A float32 array [texts, dimensions] where numpy is installed, else a list of lists.

        Raises:
            RequestError: the call failed; subclass and `code` tell how.
            TypeError: `texts` is a single string, or holds something that is not a string, or an option is unknown.
            ValueError: a text cannot be encoded as UTF-8, or an option, metadata or token is invalid.
        """
        return self.embed_reply(texts, timeout=timeout, metadata=metadata, **options).vectors()

    def embed_reply(
        self,
        texts: Sequence[str],
        *,
        timeout: float | None = None,
        metadata: Metadata = (),
        **options: Unpack[EmbedOptions],
    ) -> EmbedReply:
        """Return the vectors of texts with what was read of each; arguments and errors are those of `embed`."""
        message = embed_request(texts, options)
        response = self._call(self._embed, message, timeout, checked(metadata))
        return parse_embeddings(response, len(message.texts))

    def explain(
        self,
        text: str,
        *,
        timeout: float | None = None,
        metadata: Metadata = (),
        **options: Unpack[ExplainOptions],
    ) -> Explanation:
        """Say which words of a text speak for a label, and which against it.

        The server runs the text once for each word that it leaves out, so this takes as long as `classify` of as many.

        Args:
            text: the text.
            timeout: deadline of this call in seconds, retries included; None: the client's.
            metadata: as of `classify`.
            **options: text_pair, the second text for a text pair model; label, the label to explain, by default the
                best one; max_spans, with more words than that neighbours form equal groups, by default the server's
                limit; model, model_version, truncation and priority as of `Request`.

        Raises:
            RequestError: the call failed; subclass and `code` tell how.
            TypeError: a text is not a string, or an option is unknown.
            ValueError: a text cannot be encoded as UTF-8, or an option, metadata or token is invalid.
        """
        message = explain_request(text, options)
        return parse_explanation(self._call(self._stub.Explain, message, timeout, checked(metadata)))

    def stream(
        self,
        items: Iterable[str | Request],
        *,
        max_in_flight: int = MAX_IN_FLIGHT,
        ordered: bool = False,
        timeout: float | None = None,
        metadata: Metadata = (),
        **options: Unpack[Options],
    ) -> Generator[Answer, None, None]:
        """Classify many texts over one stream: cheaper than one call each, and cheapest with several texts per request.

        A failed request yields its `RequestError` and does not affect others. While the server is unreachable or
        overloaded, unanswered requests are sent again within their timeout; each is answered exactly once. Leaving the
        loop ends the stream.

        Args:
            items: texts, or requests with several texts or their own options; iterated in a separate thread, at most
                `max_in_flight` ahead of the answers.
            max_in_flight: most unanswered requests; bounds memory.
            ordered: yield answers in the order of the items instead of as they arrive.
            timeout: seconds per request, retries included; None: the client's.
            metadata: as of `classify`, for the stream.
            **options: as of `classify`, for items that are texts.

        Yields:
            One answer per item.

        Raises:
            RequestError: no server accepted the stream for `timeout` seconds while requests were left, the caller was
                refused, or this client was closed.
            TypeError: an item is neither a text nor a request.
        """
        refuse_single("items", items)
        seconds = self._timeout if timeout is None else timeout
        ledger = Ledger(ClassifyKind(options), seconds, ordered=ordered)
        opening = partial(self._stub.ClassifyStream, metadata=traced(checked(metadata)))
        return stream(opening, lambda: self._closed, items, ledger, max_in_flight)

    def embed_stream(
        self,
        items: Iterable[str | Sequence[str]],
        *,
        max_in_flight: int = MAX_IN_FLIGHT,
        ordered: bool = False,
        timeout: float | None = None,
        metadata: Metadata = (),
        **options: Unpack[EmbedOptions],
    ) -> Generator[EmbedAnswer, None, None]:
        """Return the vectors of many texts over one stream; in what it does and raises it is as `stream`.

        Args:
            items: texts, or lists of texts that make one request each.
            max_in_flight: as of `stream`.
            ordered: as of `stream`.
            timeout: as of `stream`.
            metadata: as of `stream`.
            **options: as of `embed`.

        Yields:
            One answer per item.
        """
        refuse_single("items", items)
        seconds = self._timeout if timeout is None else timeout
        ledger = Ledger(EmbedKind(options), seconds, ordered=ordered)
        opening = partial(self._embedder.EmbedStream, metadata=traced(checked(metadata)))
        return stream(opening, lambda: self._closed, items, ledger, max_in_flight)

    def list_models(self, *, timeout: float | None = None) -> list[ModelInfo]:
        """Return all models by name and version; raise `RequestError` where that fails."""
        response = self._call(self._stub.ListModels, ListModelsRequest(), timeout)
        return [parse_model(each) for each in response.models]

    def get_model(self, model: str = "", model_version: str = "", *, timeout: float | None = None) -> ModelInfo:
        """Return one model, by default the server's, and its default version; raise `RequestError` where that fails."""
        request = GetModelRequest(model=model, model_version=model_version)
        return parse_model(self._call(self._stub.GetModel, request, timeout))

    def _call(self, method: Callable[..., Any], message: object, timeout: float | None, metadata: Metadata = ()) -> Any:  # noqa: ANN401
        left = seconds = self._timeout if timeout is None else timeout
        until = time.monotonic() + seconds
        tries, metadata = 0, traced(metadata)
        while True:
            try:
                return method(message, timeout=left, metadata=metadata)
            except grpc.RpcError as error:
                failure = parse_error(error)
                tries += 1
                pause = seconds_to_retry(failure, tries, self._attempts, until - time.monotonic())
                if pause is None:
                    raise failure from error
            time.sleep(pause)
            left = until - time.monotonic()

    def close(self) -> None:
        """Close the connection, cancel calls in flight and end streams with `RequestError`."""
        self._closed = True
        self._channel.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()
