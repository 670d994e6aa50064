"""Errors that a person is meant to read. Every part has them, also those that never talk gRPC, so nothing is loaded."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import grpc


def first_line(error: BaseException) -> str:
    """The first line with something on it of what an error says; the name of its kind where it says nothing."""
    return next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)


class UserError(Exception):
    """One line that says what is wrong and what to do; a command prints it without a stack trace and exits 1."""


class RequestError(UserError):
    """A call that failed, with the status code of gRPC.

    Attributes:
        code: gRPC's status code; `classifier.proto` says what each means.
        message: the server's reason, or gRPC's own where no server answered.
    """

    def __init__(self, code: grpc.StatusCode, message: str) -> None:
        super().__init__(f"{code.name}: {message}")
        self.code, self.message = code, message

    def __reduce__(self) -> tuple[type[RequestError], tuple[grpc.StatusCode, str]]:
        return type(self), (self.code, self.message)


class InvalidArgumentError(RequestError):
    """The request is wrong and would be wrong again."""


class NotFoundError(RequestError):
    """The server has no model of that name."""


class ResourceExhaustedError(RequestError):
    """The server's queue is full: slow down, then try again."""


class DeadlineExceededError(RequestError):
    """The deadline passed before the answer came."""


class UnavailableError(RequestError):
    """No server answers, or it is warming up or shutting down; the client's own retries are used up."""
