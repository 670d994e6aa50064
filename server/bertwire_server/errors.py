"""Every way in which a request can fail, each with its gRPC status code.

The message reaches the client: it says what is wrong and what to do, and holds no path, no text and no stack.
"""

import grpc

# All that a caller learns of a fault of the server.
INTERNAL_ERROR = "internal error; the server's log has the cause"
# A caller's clock begins before ours, by the way of its call to here. One who leaves so many seconds before its
# deadline, as we know it, has most likely seen it pass.
CLOCK_SECONDS = 0.01


class RequestError(Exception):
    """Base of all failures of a request.

    Attributes:
        retry_after: seconds after which trying again makes sense; None where it does not, or nobody knows.
    """

    code = grpc.StatusCode.INTERNAL

    def __init__(self, message: str, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class InvalidRequest(RequestError):
    """The request is wrong, and would be wrong again."""

    code = grpc.StatusCode.INVALID_ARGUMENT


class AnswerTooLarge(InvalidRequest):
    """What was asked for cannot be sent.

    Args:
        size: bytes of the answer.
        most: bytes that can be sent.
    """

    def __init__(self, size: int, most: int) -> None:
        reason = f"the answer has {size} bytes, and at most {most} can be sent"
        super().__init__(f"{reason}; send fewer texts, or ask for less of each")


class NoSuchMethod(RequestError):
    """The service has a method that this server does not answer."""

    code = grpc.StatusCode.UNIMPLEMENTED


class Unauthenticated(RequestError):
    """The request has no credential that the server knows."""

    code = grpc.StatusCode.UNAUTHENTICATED


class Forbidden(RequestError):
    """The client is known, and may not do this."""

    code = grpc.StatusCode.PERMISSION_DENIED


class ModelNotFound(RequestError):
    """The server has no such model, or not that version of it."""

    code = grpc.StatusCode.NOT_FOUND


class ModelRefused(RequestError):
    """The repository's bundle cannot be served."""

    code = grpc.StatusCode.FAILED_PRECONDITION


class Overloaded(RequestError):
    """The server, or the client's own share of it, has no room for this now."""

    code = grpc.StatusCode.RESOURCE_EXHAUSTED


class DeadlineTooShort(Overloaded):
    """What is ahead takes longer than the client will wait."""


class Expired(RequestError):
    """The client's deadline passed before the answer was ready."""

    code = grpc.StatusCode.DEADLINE_EXCEEDED


class NotReady(RequestError):
    """The model is warming up or the server is shutting down."""

    code = grpc.StatusCode.UNAVAILABLE


class ModelFailed(RequestError):
    """The model's run raised; the log has the cause."""
