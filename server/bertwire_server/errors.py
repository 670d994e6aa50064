"""Errors of requests, each with its gRPC status code.

Messages are sent to the client: they say what is wrong and what to do, without paths, texts or stack traces.
"""

from collections.abc import Sequence

import grpc

# The message of every internal error.
INTERNAL_ERROR = "internal error; the server's log has the cause"
# Seconds by which a caller's clock may be ahead, for the time its call travelled. A caller that cancels within them
# before its deadline most likely saw it pass.
CLOCK_SECONDS = 0.01
# Most names of models, versions or labels in a message; gRPC's trailers have 8 KiB in all.
_MAX_LISTED = 20


def listed(names: Sequence[str]) -> str:
    """Return names as part of a message, of more than 20 the first."""
    more = f" and {len(names) - _MAX_LISTED} more" if len(names) > _MAX_LISTED else ""
    return ", ".join(repr(each[:64]) for each in names[:_MAX_LISTED]) + more


class RequestError(Exception):
    """Base of all request errors.

    Attributes:
        retry_after: retry delay in seconds; None where a retry is pointless or the delay unknown.
    """

    code = grpc.StatusCode.INTERNAL

    def __init__(self, message: str, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class InvalidRequest(RequestError):
    """The request is invalid; a retry fails too."""

    code = grpc.StatusCode.INVALID_ARGUMENT


class AnswerTooLarge(InvalidRequest):
    """The answer exceeds the message limit."""

    def __init__(self, size: int, most: int) -> None:
        reason = f"the answer has {size} bytes, and at most {most} can be sent"
        super().__init__(f"{reason}; send fewer texts, or ask for less of each")


class NoSuchMethod(RequestError):
    """The service declares a method that this server does not implement."""

    code = grpc.StatusCode.UNIMPLEMENTED


class Unauthenticated(RequestError):
    """The credential is missing or unknown."""

    code = grpc.StatusCode.UNAUTHENTICATED


class Forbidden(RequestError):
    """The client lacks permission."""

    code = grpc.StatusCode.PERMISSION_DENIED


class ModelNotFound(RequestError):
    """The server has no such model or version."""

    code = grpc.StatusCode.NOT_FOUND


class ModelRefused(RequestError):
    """The repository's bundle was refused."""

    code = grpc.StatusCode.FAILED_PRECONDITION


class OneOfSeveral(RequestError):
    """The call would change the models of one of several processes."""

    code = grpc.StatusCode.FAILED_PRECONDITION

    def __init__(self) -> None:
        super().__init__("one of several processes got this call; change the folder, which all follow, or send SIGHUP")


class Overloaded(RequestError):
    """The server or the client's quota is exhausted."""

    code = grpc.StatusCode.RESOURCE_EXHAUSTED


class DeadlineTooShort(Overloaded):
    """Admission estimates that the answer would miss the deadline."""


class Expired(RequestError):
    """The deadline passed before the answer was ready."""

    code = grpc.StatusCode.DEADLINE_EXCEEDED


class NotReady(RequestError):
    """The model is warming up or the server is shutting down."""

    code = grpc.StatusCode.UNAVAILABLE


class ModelFailed(RequestError):
    """The model's run raised; the log has the cause."""
