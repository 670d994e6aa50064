"""Client for asyncio."""

import asyncio
import time
from collections.abc import AsyncGenerator, AsyncIterable, Callable, Iterable, Sequence
from functools import partial
from typing import Any, Self, Unpack

import grpc

from bertwire.v1.classifier_pb2 import GetModelRequest, ListModelsRequest
from bertwire.v1.classifier_pb2_grpc import ClassifierStub
from bertwire.v1.embedder_pb2_grpc import EmbedderStub
from bertwire_client.channel import Credential, check_address, check_credentials, is_balanced, with_credential
from bertwire_client.hedging import check_delay, hedged_async
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
from bertwire_client.stream.tasks import stream
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
    request_error,
)


class AsyncClient:
    """A connection to a bertwire server, bound to the running event loop.

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
            self._channel = grpc.aio.insecure_channel(address, options)
        else:
            self._channel = grpc.aio.secure_channel(address, credentials, options)
        self._authorized = with_credential(self._channel, api_key, token)
        self._stub, self._embedder = ClassifierStub(self._authorized), EmbedderStub(self._authorized)
        self._classify = hedged_async(self._stub.Classify, hedge_after)
        self._embed = hedged_async(self._embedder.Embed, hedge_after)
        self._timeout, self._attempts = timeout, attempts
        self._closed = False

    @property
    def connected(self) -> bool:
        """Whether a connection to the server is established."""
        return self._channel.get_state() is grpc.ChannelConnectivity.READY

    async def classify(
        self,
        texts: Sequence[str],
        *,
        text_pairs: Sequence[str] | None = None,
        timeout: float | None = None,  # noqa: ASYNC109 - the server learns of gRPC's deadline, not of asyncio's
        metadata: Metadata = (),
        **options: Unpack[Options],
    ) -> Reply:
        """Classify texts in one call; arguments, result and errors are those of `Client.classify`."""
        message = Request(texts, text_pairs, **options).message()
        return parse_reply(await self._call(self._classify, message, timeout, checked(metadata)), len(message.texts))

    async def embed(
        self,
        texts: Sequence[str],
        *,
        timeout: float | None = None,  # noqa: ASYNC109 - as above
        metadata: Metadata = (),
        **options: Unpack[EmbedOptions],
    ) -> Any:  # noqa: ANN401 - an array, or lists
        """Return the vectors of texts; arguments, result and errors are those of `Client.embed`."""
        return (await self.embed_reply(texts, timeout=timeout, metadata=metadata, **options)).vectors()

    async def embed_reply(
        self,
        texts: Sequence[str],
        *,
        timeout: float | None = None,  # noqa: ASYNC109 - as above
        metadata: Metadata = (),
        **options: Unpack[EmbedOptions],
    ) -> EmbedReply:
        """Return the vectors of texts with what was read of each; arguments and errors are those of `Client.embed`."""
        message = embed_request(texts, options)
        response = await self._call(self._embed, message, timeout, checked(metadata))
        return parse_embeddings(response, len(message.texts))

    async def explain(
        self,
        text: str,
        *,
        timeout: float | None = None,  # noqa: ASYNC109 - as above
        metadata: Metadata = (),
        **options: Unpack[ExplainOptions],
    ) -> Explanation:
        """Explain a decision; arguments, result and errors are those of `Client.explain`."""
        message = explain_request(text, options)
        return parse_explanation(await self._call(self._stub.Explain, message, timeout, checked(metadata)))

    def stream(
        self,
        items: Iterable[str | Request] | AsyncIterable[str | Request],
        *,
        max_in_flight: int = MAX_IN_FLIGHT,
        ordered: bool = False,
        timeout: float | None = None,
        metadata: Metadata = (),
        **options: Unpack[Options],
    ) -> AsyncGenerator[Answer, None]:
        """Classify many texts over one stream; arguments, answers and errors are those of `Client.stream`.

        `items` may be asynchronous; iterating others blocks the event loop. Wrap the result in `contextlib.aclosing`
        where the loop may end early, to close the stream at once.
        """
        refuse_single("items", items)
        seconds = self._timeout if timeout is None else timeout
        ledger = Ledger(ClassifyKind(options), seconds, ordered=ordered)
        opening = partial(self._stub.ClassifyStream, metadata=traced(checked(metadata)))
        return stream(opening, lambda: self._closed, items, ledger, max_in_flight)

    def embed_stream(
        self,
        items: Iterable[str | Sequence[str]] | AsyncIterable[str | Sequence[str]],
        *,
        max_in_flight: int = MAX_IN_FLIGHT,
        ordered: bool = False,
        timeout: float | None = None,
        metadata: Metadata = (),
        **options: Unpack[EmbedOptions],
    ) -> AsyncGenerator[EmbedAnswer, None]:
        """Return the vectors of many texts over one stream; as `Client.embed_stream`, and closed as `stream`."""
        refuse_single("items", items)
        seconds = self._timeout if timeout is None else timeout
        ledger = Ledger(EmbedKind(options), seconds, ordered=ordered)
        opening = partial(self._embedder.EmbedStream, metadata=traced(checked(metadata)))
        return stream(opening, lambda: self._closed, items, ledger, max_in_flight)

    async def list_models(self, *, timeout: float | None = None) -> list[ModelInfo]:  # noqa: ASYNC109 - as above
        """Return all models by name and version; raise `RequestError` where that fails."""
        response = await self._call(self._stub.ListModels, ListModelsRequest(), timeout)
        return [parse_model(each) for each in response.models]

    async def get_model(
        self,
        model: str = "",
        model_version: str = "",
        *,
        timeout: float | None = None,  # noqa: ASYNC109 - as above
    ) -> ModelInfo:
        """Return one model, by default the server's, and its default version; raise `RequestError` where that fails."""
        request = GetModelRequest(model=model, model_version=model_version)
        return parse_model(await self._call(self._stub.GetModel, request, timeout))

    async def _call(
        self,
        method: Callable[..., Any],
        message: object,
        timeout: float | None,  # noqa: ASYNC109 - as above
        metadata: Metadata = (),
    ) -> Any:  # noqa: ANN401
        left = seconds = self._timeout if timeout is None else timeout
        until = time.monotonic() + seconds
        tries, metadata = 0, traced(metadata)
        while True:
            try:
                return await method(message, timeout=left, metadata=metadata)
            except grpc.aio.AioRpcError as error:
                failure = parse_error(error)
                tries += 1
                pause = seconds_to_retry(failure, tries, self._attempts, until - time.monotonic())
                if pause is None:
                    raise failure from error
            except asyncio.CancelledError:
                # gRPC's, of the closed channel; that of the caller's own task goes on.
                task = asyncio.current_task()
                if not self._closed or (task is not None and task.cancelling()):
                    raise
                raise request_error(grpc.StatusCode.CANCELLED, "the client was closed") from None
            await asyncio.sleep(pause)
            left = until - time.monotonic()

    async def close(self) -> None:
        """Close the connection, cancel calls in flight and end streams with `RequestError`."""
        self._closed = True
        await self._channel.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exception: object) -> None:
        await self.close()
