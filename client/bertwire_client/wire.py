"""Channel settings, and parsing of replies and errors, shared by both clients."""

import json
import os
from typing import Any

import grpc

from bertwire.v1 import classifier_pb2 as pb
from bertwire.v1 import embedder_pb2
from bertwire_client.errors import (
    DeadlineExceededError,
    FailedPreconditionError,
    InvalidArgumentError,
    NotFoundError,
    PermissionDeniedError,
    RequestError,
    ResourceExhaustedError,
    UnauthenticatedError,
    UnavailableError,
)
from bertwire_client.replies import (
    Attribution,
    Embedding,
    EmbedReply,
    Entity,
    Explanation,
    LabelScore,
    ModelInfo,
    Reply,
    Result,
    Timing,
)

DEFAULT_TIMEOUT = 10.0
DEFAULT_ATTEMPTS = 4

_KINDS: dict[grpc.StatusCode, type[RequestError]] = {
    grpc.StatusCode.INVALID_ARGUMENT: InvalidArgumentError,
    grpc.StatusCode.NOT_FOUND: NotFoundError,
    grpc.StatusCode.RESOURCE_EXHAUSTED: ResourceExhaustedError,
    grpc.StatusCode.DEADLINE_EXCEEDED: DeadlineExceededError,
    grpc.StatusCode.UNAVAILABLE: UnavailableError,
    grpc.StatusCode.UNAUTHENTICATED: UnauthenticatedError,
    grpc.StatusCode.PERMISSION_DENIED: PermissionDeniedError,
    grpc.StatusCode.FAILED_PRECONDITION: FailedPreconditionError,
}
_CODES: dict[int, grpc.StatusCode] = {code.value[0]: code for code in grpc.StatusCode}

# gRPC's messages where no address of a server accepted a connection.
_NOT_CONNECTED = ("failed to connect", "errors resolving")
_WHY_NOT_CONNECTED = (
    "; is the server started, is this its port, does it talk TLS or in the clear as this client does, does it want a "
    "client certificate?"
)
# gRPC's messages for an untrusted certificate, or one for another name.
_WRONG_CERTIFICATE = ("CERTIFICATE_VERIFY_FAILED", "Hostname Verification Check failed")
_WHY_NOT_TRUSTED = "; is the server's certificate for the name in this address, and signed by the CA that was given?"
_TOO_LARGE = "larger than max"
# gRPC takes the first that is set, even if empty (src/core/handshaker/http_connect/http_proxy_mapper.cc).
_PROXY_VARIABLES = ("grpc_proxy", "https_proxy", "http_proxy")

# Bytes; a call of many long texts exceeds gRPC's default of 4 MiB.
_MESSAGE_BYTES = 64 << 20
_CLASSIFIER = pb.DESCRIPTOR.services_by_name["Classifier"]
_EMBEDDER = embedder_pb2.DESCRIPTOR.services_by_name["Embedder"]
# The methods that may be sent twice. Without ClassifyStream: gRPC would buffer the whole stream; `stream` keeps only
# unanswered requests.
_RETRIED_METHODS = (
    _CLASSIFIER.methods_by_name["Classify"],
    _CLASSIFIER.methods_by_name["Explain"],
    _CLASSIFIER.methods_by_name["ListModels"],
    _CLASSIFIER.methods_by_name["GetModel"],
    _EMBEDDER.methods_by_name["Embed"],
)


def channel_options(
    attempts: int, *, balanced: bool = False, wait_for_ready: bool = False
) -> list[tuple[str, int | str]]:
    """Return channel options: limits of messages, and how calls are sent.

    Args:
        attempts: tries per call on UNAVAILABLE, 1 to 5.
        balanced: whether calls take turns between the address's servers that are healthy.
        wait_for_ready: whether calls wait for a connection, within their deadlines.
    """
    if not 1 <= attempts <= 5:
        raise ValueError(f"attempts is {attempts}; gRPC makes 1 to 5")
    return [
        ("grpc.max_send_message_length", _MESSAGE_BYTES),
        ("grpc.max_receive_message_length", _MESSAGE_BYTES),
        # gRPC does not retry calls that exceed this buffer, by default 256 KiB.
        ("grpc.per_rpc_retry_buffer_size", _MESSAGE_BYTES),
        # Reconnect to a restarted server within seconds instead of gRPC's two minutes.
        ("grpc.initial_reconnect_backoff_ms", 100),
        ("grpc.max_reconnect_backoff_ms", 2000),
        ("grpc.service_config", json.dumps(_service_config(attempts, balanced, wait_for_ready))),
    ]


def _service_config(attempts: int, balanced: bool, wait_for_ready: bool) -> dict[str, Any]:
    """Return gRPC's service config (https://github.com/grpc/grpc/blob/master/doc/service_config.md)."""
    names = [{"service": each.containing_service.full_name, "method": each.name} for each in _RETRIED_METHODS]
    calls: dict[str, Any] = {"name": names, "waitForReady": wait_for_ready}
    if attempts > 1:
        calls["retryPolicy"] = {
            "maxAttempts": attempts,
            "initialBackoff": "0.05s",
            "maxBackoff": "1s",
            "backoffMultiplier": 2,
            # gRPC's core ends calls that arrive during its shutdown with CANCELLED.
            "retryableStatusCodes": ["UNAVAILABLE", "CANCELLED"],
        }
    # A server that says that it shuts down gets no new calls; one without health checks counts as healthy.
    turns = {"loadBalancingConfig": [{"round_robin": {}}], "healthCheckConfig": {"serviceName": ""}}
    return {"methodConfig": [calls]} | (turns if balanced else {})


def parse_reply(response: pb.ClassifyResponse, texts: int) -> Reply:
    """Return the reply to `texts` texts; raise `RequestError` (INTERNAL) where the number of results differs."""
    _require_count(len(response.results), texts)
    return Reply(response.model, response.model_version, tuple(map(_result, response.results)))


def parse_embeddings(response: embedder_pb2.EmbedResponse, texts: int) -> EmbedReply:
    """Return the vectors of `texts` texts; raise `RequestError` (INTERNAL) where their number differs."""
    _require_count(len(response.embeddings), texts)
    found = (
        Embedding(tuple(each.values), each.token_count, each.truncated, _timing(each.timing))
        for each in response.embeddings
    )
    return EmbedReply(response.model, response.model_version, tuple(found))


def _require_count(results: int, texts: int) -> None:
    if results != texts:
        raise RequestError(grpc.StatusCode.INTERNAL, f"the server gave {results} results for {texts} texts")


def _timing(message: pb.Timing) -> Timing:
    return Timing(message.queue_us, message.tokenize_us, message.run_us)


def _result(message: pb.Result) -> Result:
    return Result(
        labels=tuple(LabelScore(each.label, each.score, each.predicted) for each in message.labels),
        logits=tuple(message.logits),
        token_count=message.token_count,
        truncated=message.truncated,
        timing=_timing(message.timing),
        entities=tuple(Entity(each.label, each.start, each.end, each.score) for each in message.entities),
        rules=tuple(message.rules),
        abstained=message.abstained,
    )


def parse_explanation(message: pb.ExplainResponse) -> Explanation:
    """Return the response to an explained text as `Explanation`."""
    return Explanation(
        model=message.model,
        model_version=message.model_version,
        label=message.label,
        logit=message.logit,
        score=message.score,
        spans=tuple(
            Attribution(each.start, each.end, each.in_text_pair, each.logit, each.score) for each in message.spans
        ),
        truncated=message.truncated,
        rules=tuple(message.rules),
    )


def parse_model(message: pb.Model) -> ModelInfo:
    """Return a model message as `ModelInfo`."""
    return ModelInfo(
        name=message.name,
        version=message.version,
        aliases=tuple(message.aliases),
        default=message.default,
        state=_state(message.state),
        reason=message.reason,
        task=message.task,
        text_pairs=message.text_pairs,
        labels=tuple(message.labels),
        max_length=message.max_length,
        variant=message.variant,
        precision=message.precision,
        provider=message.provider,
        quality=dict(message.quality),
        proven=message.proven,
        fallback_reason=message.fallback_reason,
        rules=tuple(message.rules),
        abstains=message.abstains,
        dimensions=message.dimensions,
    )


def _state(state: int) -> str:
    # A newer server may send unknown states.
    if state == pb.MODEL_STATE_UNSPECIFIED or state not in pb.ModelState.values():
        return "unknown"
    return pb.ModelState.Name(state).removeprefix("MODEL_STATE_").lower()


def parse_error(error: grpc.RpcError) -> RequestError:
    """Return the `RequestError` of gRPC's error from a call."""
    assert isinstance(error, (grpc.Call, grpc.aio.AioRpcError))  # noqa: S101 - gRPC raises nothing else from a call
    if error.code() is None:  # asyncio only; INTERNAL otherwise
        return request_error(grpc.StatusCode.INTERNAL, "the server's response cannot be decoded")
    message = error.details() or ""
    if any(each in message for each in _WRONG_CERTIFICATE):
        message += _WHY_NOT_TRUSTED
    elif message.startswith(_NOT_CONNECTED):
        # gRPC reports only the last address of a name, and obscures TLS mismatches.
        message += _WHY_NOT_CONNECTED + _through_proxy()
    elif _TOO_LARGE in message:
        message += "; send fewer or shorter texts at a time"
    return request_error(error.code(), message, _pushback(error.trailing_metadata()))


def _through_proxy() -> str:
    """Return a hint where the environment sets a proxy, which gRPC's message does not mention."""
    variable = next((each for each in _PROXY_VARIABLES if each in os.environ), "")
    if not os.environ.get(variable):
        return ""
    return f" is it reached through the proxy that {variable} names? without it: no_proxy with the server's host"


def parse_failure(failure: pb.Failure) -> RequestError:
    """Return the `RequestError` of one failed request of a stream."""
    code = _CODES.get(failure.code, grpc.StatusCode.UNKNOWN)
    retry_after = failure.retry_after_ms / 1e3 if failure.HasField("retry_after_ms") else None
    return request_error(code, failure.message, retry_after)


def request_error(code: grpc.StatusCode, message: str | None, retry_after: float | None = None) -> RequestError:
    """Return the `RequestError` subclass of a status code."""
    return _KINDS.get(code, RequestError)(code, message or "no reason given", retry_after)


def is_too_large(error: RequestError) -> bool:
    """Whether gRPC itself rejected a message by size, which shares its code with a full queue."""
    return _TOO_LARGE in error.message


def _pushback(trailing: Any) -> float | None:  # noqa: ANN401 - gRPC has several kinds of metadata
    for key, value in trailing or ():
        # Negative or no number: do not retry (gRFC A6).
        if key == "grpc-retry-pushback-ms" and isinstance(value, str) and value.isdecimal():
            return int(value) / 1e3
    return None
