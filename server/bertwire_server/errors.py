"""Every way in which a request can fail, each with its gRPC status code.

The message reaches the client: it says what is wrong and what to do, and holds no path, no text and no stack.
"""

import grpc


class RequestError(Exception):
    """Base of all failures of a request."""

    code = grpc.StatusCode.INTERNAL


class InvalidRequest(RequestError):
    """The request is wrong, and would be wrong again."""

    code = grpc.StatusCode.INVALID_ARGUMENT


class ModelNotFound(RequestError):
    """The server has no such model."""

    code = grpc.StatusCode.NOT_FOUND


class QueueFull(RequestError):
    """More texts are waiting than the server takes."""

    code = grpc.StatusCode.RESOURCE_EXHAUSTED


class NotReady(RequestError):
    """The server is warming up or shutting down."""

    code = grpc.StatusCode.UNAVAILABLE


class ModelFailed(RequestError):
    """The model's run raised; the log has the cause."""
