"""The client for threads."""

from collections.abc import Sequence
from typing import Self

import grpc

from bertwire.v1.classifier_pb2_grpc import ClassifierStub
from bertwire_client.channel import Credential, with_credential
from bertwire_client.replies import Reply
from bertwire_client.wire import (
    DEFAULT_ATTEMPTS,
    DEFAULT_TIMEOUT,
    build_request,
    channel_options,
    parse_error,
    parse_reply,
)


class Client:
    """A connection to a bertwire server; threads may share it.

    Args:
        address: the server's `host:port`.
        timeout: deadline of a call in seconds, its retries included.
        attempts: how often a call is tried, 1 to 5, while the server is UNAVAILABLE.
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
        options = channel_options(attempts)
        if credentials is None:
            self._channel = grpc.insecure_channel(address, options)
        else:
            self._channel = grpc.secure_channel(address, credentials, options)
        self._stub = ClassifierStub(with_credential(self._channel, api_key, token))
        self._timeout = timeout

    def classify(
        self,
        texts: Sequence[str],
        *,
        top_k: int | None = None,
        logits: bool = False,
        model: str = "",
        timeout: float | None = None,
    ) -> Reply:
        """Classifies texts in one call.

        Args:
            texts: one or many texts; the server limits how many and how long.
            top_k: how many labels to return for a text, best first; None: all.
            logits: also return the raw logits.
            model: name of the model to ask; empty: the one that the server has.
            timeout: deadline of this call in seconds; None: the client's.

        Returns:
            The reply, with one result for each text in the order of the texts.

        Raises:
            RequestError: the call failed; its subclass and `code` say how.
            TypeError: `texts` is a single string, or holds something that is not a string.
            ValueError: a text cannot be encoded as UTF-8.
        """
        request = build_request(texts, top_k, logits, model)
        try:
            response = self._stub.Classify(request, timeout=self._timeout if timeout is None else timeout)
        except grpc.RpcError as error:
            raise parse_error(error) from error
        return parse_reply(response, len(request.texts))

    def close(self) -> None:
        """Closes the connection; calls in flight are cancelled."""
        self._channel.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()
