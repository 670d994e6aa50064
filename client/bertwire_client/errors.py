"""Errors of a call, by gRPC status code."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bertwire_core.errors import UserError

if TYPE_CHECKING:
    import grpc


class RequestError(UserError):
    """A failed call.

    Attributes:
        code: gRPC's status code; `classifier.proto` says what each means.
        message: the server's reason, or gRPC's where no server answered.
        retry_after: seconds to wait before a retry; None where the server names no delay.
    """

    def __init__(self, code: grpc.StatusCode, message: str, retry_after: float | None = None) -> None:
        super().__init__(f"{code.name}: {message}")
        self.code, self.message, self.retry_after = code, message, retry_after

    def __reduce__(self) -> tuple[type[RequestError], tuple[grpc.StatusCode, str, float | None]]:
        return type(self), (self.code, self.message, self.retry_after)


class InvalidArgumentError(RequestError):
    """The request is invalid; a retry fails too."""


class NotFoundError(RequestError):
    """The server has no such model or version."""


class ResourceExhaustedError(RequestError):
    """The server is overloaded or the caller above its limits; retry after `retry_after`, where set."""


class DeadlineExceededError(RequestError):
    """The deadline passed before the answer arrived."""


class UnavailableError(RequestError):
    """No server answered, or it is warming up or shutting down; the client's retries are used up."""


class UnauthenticatedError(RequestError):
    """The credential is missing or unknown."""

    # The server's message cannot name client options.
    hint = "; give a key with --api-key-file or BERTWIRE_API_KEY"


class PermissionDeniedError(RequestError):
    """The caller lacks permission."""


class FailedPreconditionError(RequestError):
    """The bundle was refused; versions already served stay."""
