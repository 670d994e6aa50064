"""The client for asyncio."""

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


class AsyncClient:
    """A connection to a bertwire server, made and used within one running event loop.

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
            self._channel = grpc.aio.insecure_channel(address, options)
        else:
            self._channel = grpc.aio.secure_channel(address, credentials, options)
        self._stub = ClassifierStub(with_credential(self._channel, api_key, token))
        self._timeout = timeout

    @property
    def connected(self) -> bool:
        """Whether a connection to the server stands now."""
        return self._channel.get_state() is grpc.ChannelConnectivity.READY

    async def classify(
        self,
        texts: Sequence[str],
        *,
        top_k: int | None = None,
        logits: bool = False,
        model: str = "",
        timeout: float | None = None,  # noqa: ASYNC109 - the server learns of gRPC's deadline, not of asyncio's
    ) -> Reply:
        """Classifies texts in one call; arguments, result and errors are those of `Client.classify`."""
        request = build_request(texts, top_k, logits, model)
        try:
            response = await self._stub.Classify(request, timeout=self._timeout if timeout is None else timeout)
        except grpc.aio.AioRpcError as error:
            raise parse_error(error) from error
        return parse_reply(response, len(request.texts))

    async def close(self) -> None:
        """Closes the connection; calls in flight are cancelled."""
        await self._channel.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exception: object) -> None:
        await self.close()
