"""Messages of the streams of `bertwire.v1`: a request with an id and a time limit, a response or a failure."""

from collections.abc import Awaitable, Callable
from functools import partial
from typing import Protocol, TypeVar

from bertwire.v1.classifier_pb2 import Failure
from bertwire_server.errors import InvalidRequest, RequestError
from bertwire_server.protocols.deadlines import within
from bertwire_server.status import milliseconds

_MAX_ID_BYTES = 128

Request = TypeVar("Request")
Response = TypeVar("Response")
RequestOf = TypeVar("RequestOf", covariant=True)


class Identified(Protocol[RequestOf]):
    """A message of a stream."""

    id: str
    timeout_ms: int

    @property
    def request(self) -> RequestOf: ...  # noqa: D102

    @property
    def HasField(self) -> Callable[..., bool]: ...  # noqa: D102, N802 - protobuf's


async def answered(
    message: Identified[Request], until: float | None, answer: Callable[[Request, float | None], Awaitable[Response]]
) -> Response:
    """Answer a message by its own time limit and the stream's deadline `until`.

    Raises:
        RequestError: the id or the time limit is invalid, or the request failed.
    """
    if len(message.id.encode()) > _MAX_ID_BYTES:
        raise InvalidRequest(f"the id has more than {_MAX_ID_BYTES} bytes; choose a shorter one")
    if not message.HasField("timeout_ms"):
        return await answer(message.request, until)
    if message.timeout_ms < 1:
        raise InvalidRequest(f"timeout_ms is {message.timeout_ms}; it must be at least 1, or unset")
    what = f"timeout_ms of {message.timeout_ms}"
    return await within(message.timeout_ms / 1e3, what, until, partial(answer, message.request))


def failure_of(error: RequestError) -> Failure:
    """Return the failure of one message."""
    failure = Failure(code=error.code.value[0], message=str(error))
    if error.retry_after is not None:
        failure.retry_after_ms = milliseconds(error.retry_after)
    return failure
