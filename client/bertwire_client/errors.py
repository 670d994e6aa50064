"""Failures of a call, by gRPC's status code."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bertwire_core.errors import UserError

if TYPE_CHECKING:
    import grpc


class RequestError(UserError):
    """A call that failed, with the status code of gRPC.

    Attributes:
        code: gRPC's status code; `classifier.proto` says what each means.
        message: the server's reason, or gRPC's own where no server answered.
        retry_after: seconds after which the server says that trying again makes sense; None where it says nothing.
    """

    def __init__(self, code: grpc.StatusCode, message: str, retry_after: float | None = None) -> None:
        super().__init__(f"{code.name}: {message}")
        self.code, self.message, self.retry_after = code, message, retry_after

    def __reduce__(self) -> tuple[type[RequestError], tuple[grpc.StatusCode, str, float | None]]:
        return type(self), (self.code, self.message, self.retry_after)


class InvalidArgumentError(RequestError):
    """The request is wrong and would be wrong again."""


class NotFoundError(RequestError):
    """The server has no model of that name, or not that version of it."""


class ResourceExhaustedError(RequestError):
    """The server is overloaded or the caller above its limits: try again after `retry_after`, where there is one."""


class DeadlineExceededError(RequestError):
    """The deadline passed before the answer came."""


class UnavailableError(RequestError):
    """No server answers, or it is warming up or shutting down; the client's own retries are used up."""


class UnauthenticatedError(RequestError):
    """The server wants a credential, and this is none that it knows."""

    # The server knows of no options.
    hint = "; give a key with --api-key-file or BERTWIRE_API_KEY"


class PermissionDeniedError(RequestError):
    """The server knows the caller, who may not do this."""


class FailedPreconditionError(RequestError):
    """The bundle cannot be served; what was served before goes on."""
