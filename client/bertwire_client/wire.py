"""What the two clients share: channel settings, requests, replies."""

import json
from collections.abc import Sequence

import grpc

from bertwire.v1.classifier_pb2 import ClassifyRequest, ClassifyResponse
from bertwire.v1.classifier_pb2 import Result as ResultMessage
from bertwire_client.errors import (
    DeadlineExceededError,
    InvalidArgumentError,
    NotFoundError,
    RequestError,
    ResourceExhaustedError,
    UnavailableError,
)
from bertwire_client.replies import LabelScore, Reply, Result, Timing

DEFAULT_TIMEOUT = 10.0
DEFAULT_ATTEMPTS = 4

_KINDS: dict[grpc.StatusCode, type[RequestError]] = {
    grpc.StatusCode.INVALID_ARGUMENT: InvalidArgumentError,
    grpc.StatusCode.NOT_FOUND: NotFoundError,
    grpc.StatusCode.RESOURCE_EXHAUSTED: ResourceExhaustedError,
    grpc.StatusCode.DEADLINE_EXCEEDED: DeadlineExceededError,
    grpc.StatusCode.UNAVAILABLE: UnavailableError,
}

# A call of many long texts is larger than gRPC's default of 4 MiB.
_MESSAGE_BYTES = 64 << 20


def channel_options(attempts: int) -> list[tuple[str, int | str]]:
    """Settings of a channel: message limits, and `attempts` (1 to 5) at each call while the server is UNAVAILABLE."""
    if not 1 <= attempts <= 5:
        raise ValueError(f"attempts is {attempts}; gRPC makes 1 to 5")
    options: list[tuple[str, int | str]] = [
        ("grpc.max_send_message_length", _MESSAGE_BYTES),
        ("grpc.max_receive_message_length", _MESSAGE_BYTES),
        # gRPC gives up retrying a call that it cannot keep in this buffer; its default is 256 KiB.
        ("grpc.per_rpc_retry_buffer_size", _MESSAGE_BYTES),
        # A server that was restarted is found again within seconds, not within gRPC's two minutes.
        ("grpc.initial_reconnect_backoff_ms", 100),
        ("grpc.max_reconnect_backoff_ms", 2000),
    ]
    return options if attempts == 1 else [*options, ("grpc.service_config", _service_config(attempts))]


def _service_config(attempts: int) -> str:
    policy = {
        "maxAttempts": attempts,
        "initialBackoff": "0.05s",
        "maxBackoff": "1s",
        "backoffMultiplier": 2,
        "retryableStatusCodes": ["UNAVAILABLE"],
    }
    return json.dumps({"methodConfig": [{"name": [{"service": "bertwire.v1.Classifier"}], "retryPolicy": policy}]})


def build_request(texts: Sequence[str], top_k: int | None, logits: bool, model: str) -> ClassifyRequest:
    """Builds a request.

    Raises:
        TypeError: `texts` is one string, or holds something that is not a string.
        ValueError: a text has a lone surrogate, which UTF-8 cannot carry.
    """
    if isinstance(texts, (str, bytes)):
        raise TypeError("texts is a single string; pass a list of texts, for example [text]")
    for index, text in enumerate(texts):
        if not isinstance(text, str):
            raise TypeError(f"texts[{index}] is not a string but {type(text).__name__}")
    try:
        return ClassifyRequest(model=model, texts=texts, top_k=top_k, logits=logits)
    except UnicodeEncodeError as error:
        raise ValueError(f"a text or the model's name has no UTF-8 form: {error}") from None


def parse_reply(response: ClassifyResponse, texts: int) -> Reply:
    """Turns a response to `texts` texts into a reply; raises `RequestError` (INTERNAL) where it has not one a text."""
    if len(response.results) != texts or not all(result.labels for result in response.results):
        reason = f"the server gave {len(response.results)} results for {texts} texts, or one without a label"
        raise RequestError(grpc.StatusCode.INTERNAL, reason)
    return Reply(response.model, response.model_version, tuple(map(_result, response.results)))


def _result(message: ResultMessage) -> Result:
    timing = message.timing
    return Result(
        labels=tuple(LabelScore(each.label, each.score) for each in message.labels),
        logits=tuple(message.logits),
        token_count=message.token_count,
        truncated=message.truncated,
        timing=Timing(timing.queue_us, timing.tokenize_us, timing.run_us),
    )


def parse_error(error: grpc.RpcError) -> RequestError:
    """Turns what gRPC raised from a call into the error of its status code."""
    assert isinstance(error, (grpc.Call, grpc.aio.AioRpcError))  # noqa: S101 - gRPC raises nothing else from a call
    code = error.code()
    return _KINDS.get(code, RequestError)(code, error.details() or "no reason given")
