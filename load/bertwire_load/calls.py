"""Calls by each protocol."""

from collections.abc import Callable
from functools import partial
from typing import Any, Protocol

import grpc.aio

from bertwire.oip.inference_pb2 import ModelInferRequest
from bertwire.oip.inference_pb2_grpc import GRPCInferenceServiceStub
from bertwire.tei.tei_pb2 import EmbedRequest, PredictRequest
from bertwire.tei.tei_pb2_grpc import EmbedStub, PredictStub
from bertwire_client.aio import AsyncClient
from bertwire_client.channel import check_address, with_credential
from bertwire_client.requests import Priority
from bertwire_client.wire import channel_options, parse_error
from bertwire_load.config import LoadConfig
from bertwire_load.requests import Request

# A retry would hide a failure and its time.
_ATTEMPTS = 1
_OIP_PRIORITIES: dict[Priority, int] = {"high": 1, "normal": 2, "low": 3}


class Call(Protocol):
    """A connection that calls are sent over."""

    async def send(self, request: Request) -> None:
        """Send a call and return when it is answered; raise `RequestError` where it fails."""
        ...

    async def close(self) -> None:
        """Close the connection."""
        ...


class BertwireCall:
    """Calls of `bertwire.v1`, by the project's own client."""

    def __init__(self, address: str, config: LoadConfig) -> None:
        self._client = AsyncClient(address, attempts=_ATTEMPTS, **config.credentials())
        self._send = self._embed if config.embed else self._classify
        self._model, self._version = config.model, config.model_version

    async def send(self, request: Request) -> None:
        """Classify texts, or ask for their vectors."""
        await self._send(request)

    async def _classify(self, request: Request) -> None:
        await self._client.classify(
            request.texts,
            top_k=1,
            model=self._model,
            model_version=self._version,
            priority=request.priority,
            timeout=request.deadline,
        )

    async def _embed(self, request: Request) -> None:
        await self._client.embed_reply(
            request.texts,
            model=self._model,
            model_version=self._version,
            priority=request.priority,
            timeout=request.deadline,
        )

    async def close(self) -> None:
        """Close the connection."""
        await self._client.close()


class StubCall:
    """Calls of messages on a stub's method.

    Args:
        address: the server's.
        config: has the credentials.
        method: gives the method of a channel.
        message: gives the message of a request.
    """

    def __init__(
        self, address: str, config: LoadConfig, method: Callable[[Any], Any], message: Callable[[Request], Any]
    ) -> None:
        check_address(address)
        credentials, options = config.credentials(), channel_options(_ATTEMPTS)
        if credentials["credentials"] is None:
            self._channel = grpc.aio.insecure_channel(address, options)
        else:
            self._channel = grpc.aio.secure_channel(address, credentials["credentials"], options)
        self._method = method(with_credential(self._channel, credentials["api_key"], None))
        self._message = message

    async def send(self, request: Request) -> None:
        """Send a message."""
        try:
            await self._method(self._message(request), timeout=request.deadline)
        except grpc.aio.AioRpcError as error:
            raise parse_error(error) from error

    async def close(self) -> None:
        """Close the connection."""
        await self._channel.close()


def connect(address: str, config: LoadConfig) -> Call:
    """Return a connection to a server; raise `UserError` where the address or a credential is invalid."""
    if config.protocol == "bertwire":
        return BertwireCall(address, config)
    if config.protocol == "oip":
        return StubCall(address, config, _model_infer, partial(_oip_request, config))
    if config.embed:
        return StubCall(address, config, lambda channel: EmbedStub(channel).Embed, _tei_embed)
    return StubCall(address, config, lambda channel: PredictStub(channel).Predict, _tei_predict)


def _model_infer(channel: Any) -> Any:  # noqa: ANN401 - gRPC's
    return GRPCInferenceServiceStub(channel).ModelInfer


def _oip_request(config: LoadConfig, request: Request) -> ModelInferRequest:
    """Return a request for all outputs with one BYTES input of the shape [texts, 1]."""
    message = ModelInferRequest(model_name=config.model, model_version=config.model_version)
    tensor = message.inputs.add(name=config.input_name, datatype="BYTES", shape=[len(request.texts), 1])
    tensor.contents.bytes_contents.extend(text.encode() for text in request.texts)
    # Triton refuses a priority that its model's configuration does not have.
    if request.priority != "normal":
        message.parameters["priority"].int64_param = _OIP_PRIORITIES[request.priority]
    return message


# Texts that are too long for the model are cut, as the other protocols do.
def _tei_predict(request: Request) -> PredictRequest:
    return PredictRequest(inputs=request.texts[0], truncate=True)


def _tei_embed(request: Request) -> EmbedRequest:
    return EmbedRequest(inputs=request.texts[0], truncate=True)
