"""The client for threads."""

import time
from collections.abc import Callable, Generator, Iterable, Sequence
from functools import partial
from typing import Any, Self, Unpack

import grpc

from bertwire.v1.classifier_pb2 import GetModelRequest, ListModelsRequest
from bertwire.v1.classifier_pb2_grpc import ClassifierStub
from bertwire_client.channel import Credential, check_address, check_credentials, with_credential
from bertwire_client.replies import Answer, ModelInfo, Reply
from bertwire_client.requests import Metadata, Options, Request, checked, refuse_single
from bertwire_client.retries import seconds_to_retry
from bertwire_client.stream.ledger import MAX_IN_FLIGHT, Ledger
from bertwire_client.stream.threads import stream
from bertwire_client.wire import (
    DEFAULT_ATTEMPTS,
    DEFAULT_TIMEOUT,
    channel_options,
    parse_error,
    parse_model,
    parse_reply,
)


class Client:
    """A connection to a bertwire server; threads may share it.

    Args:
        address: the server's `host:port`, or `unix:PATH`; `UserError` where it is none.
        timeout: deadline of a call in seconds, its retries included.
        attempts: how often a call is tried, 1 to 5, while the server is UNAVAILABLE; and how often all that is done
            while it is RESOURCE_EXHAUSTED and says when to try again.
        credentials: for TLS, from `tls_credentials` for example; None talks in the clear.
        api_key: sent with every call.
        token: a JWT instead of it, or a function that gives the one to send now.
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
    ) -> None:
        check_address(address)
        check_credentials(credentials)
        options = channel_options(attempts)
        if credentials is None:
            self._channel = grpc.insecure_channel(address, options)
        else:
            self._channel = grpc.secure_channel(address, credentials, options)
        self._authorized = with_credential(self._channel, api_key, token)
        self._stub = ClassifierStub(self._authorized)
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
        """Classifies texts in one call.

        Args:
            texts: one or many texts; the server limits how many and how long.
            text_pairs: for a model of text pairs the second text of each.
            timeout: deadline of this call in seconds, its retries included; None: the client's.
            metadata: sent along, such as [("x-request-id", "7f3a")], by which the server's log calls it.
            **options: top_k, logits, model, model_version, threshold, thresholds, truncation and priority, as
                `Request` says.

        Returns:
            The reply, with one result for each text in the order of the texts.

        Raises:
            RequestError: the call failed; its subclass and `code` say how.
            TypeError: `texts` is a single string, or holds something that is not a string.
            ValueError: a text cannot be encoded as UTF-8, an option has none of its values, or metadata or a token is
                nothing that can be sent.
        """
        message = Request(texts, text_pairs, **options).message()
        return parse_reply(self._call(self._stub.Classify, message, timeout, checked(metadata)), len(message.texts))

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
        """Classifies many texts over one stream, which costs less than a call each; several texts a request cost least.

        A request that fails has its `RequestError` in place of a reply, and leaves the others alone. While the server
        is away or has no room for a request, what is unanswered is sent again within its timeout; each request is
        answered exactly once. Ending the loop early ends the stream.

        Args:
            items: texts, or requests with several texts or options of their own. They are taken in a thread of the
                stream's own, and only as fast as answers are taken: `max_in_flight` ahead at most.
            max_in_flight: most requests that are taken and not yet answered, which bounds memory.
            ordered: whether answers come in the order of the items instead of as soon as they are there.
            timeout: seconds that a request may take from its sending on, its retries included; None: the client's.
            metadata: sent along with the stream, as by `classify`.
            **options: how to classify the texts, as for `classify`.

        Yields:
            An answer for each item.

        Raises:
            RequestError: no request can be answered any more: no server has taken the stream for `timeout` seconds and
                there is more to send, or it refuses the caller, or this client was closed.
            TypeError: an item is neither a text nor a request.
        """
        refuse_single("items", items)
        seconds = self._timeout if timeout is None else timeout
        ledger = Ledger(seconds, ordered=ordered, options=options)
        opening = partial(self._stub.ClassifyStream, metadata=checked(metadata))
        return stream(opening, lambda: self._closed, items, ledger, max_in_flight)

    def list_models(self, *, timeout: float | None = None) -> list[ModelInfo]:
        """The models that can be asked, by name and version; raises `RequestError`."""
        response = self._call(self._stub.ListModels, ListModelsRequest(), timeout)
        return [parse_model(each) for each in response.models]

    def get_model(self, model: str = "", model_version: str = "", *, timeout: float | None = None) -> ModelInfo:
        """One model, by default the server's, and its default version; raises `RequestError`."""
        request = GetModelRequest(model=model, model_version=model_version)
        return parse_model(self._call(self._stub.GetModel, request, timeout))

    def _call(self, method: Callable[..., Any], message: object, timeout: float | None, metadata: Metadata = ()) -> Any:  # noqa: ANN401
        left = seconds = self._timeout if timeout is None else timeout
        until = time.monotonic() + seconds
        tries = 0
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
        """Closes the connection; calls in flight are cancelled, and streams end with `RequestError`."""
        self._closed = True
        self._channel.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()
