"""What stands between gRPC and every method of ours: malformed messages and failures become status codes here."""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import lru_cache
from math import ceil
from typing import Any

import grpc
import grpc.aio
from google.protobuf.any_pb2 import Any as AnyMessage
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import DecodeError
from google.rpc.error_details_pb2 import RetryInfo
from google.rpc.status_pb2 import Status

from bertwire_server.access.gate import OPEN, Admission, Gate
from bertwire_server.call import Call, current
from bertwire_server.errors import Forbidden, InvalidRequest, NotReady, Overloaded, RequestError, Unauthenticated
from bertwire_server.telemetry.reporting import Telemetry

_log = logging.getLogger(__name__)
_MALFORMED = "the message cannot be decoded; check that it is of this method's type and that its text is UTF-8"
_MAX_REQUEST_ID = 128

Context = grpc.aio.ServicerContext[Any, Any]
Handler = Any  # grpc.RpcMethodHandler, whose fields the type stubs call optional though a handler of ours has them
Unary = Callable[[Any, Context], Awaitable[Any]]
Stream = Callable[[AsyncIterator[Any], Context], AsyncIterator[Any]]
Decode = Callable[[bytes], Any]


class Edge:
    """Wraps the methods of services.

    Not an interceptor of gRPC's: that finds and wraps the handler anew in every call, for a tenth of the call's cost.

    Attributes:
        in_flight: calls that have begun and not ended.
        idle: set while there is none.
        arrived: set whenever a call begins.
        closing: set where new calls are refused with UNAVAILABLE, and streams come to their end.
    """

    def __init__(self, gate: Gate | None, telemetry: Telemetry) -> None:
        """Reports on every call; lets everyone in where there is no gate."""
        self._gate, self._telemetry = gate, telemetry
        self.in_flight = 0
        self.idle = asyncio.Event()
        self.idle.set()
        self.arrived = asyncio.Event()
        self.closing = asyncio.Event()

    def over(self, server: grpc.aio.Server) -> "_Guarded":
        """Stands for `server` where a service is added to it, by a generated `add_..._to_server`."""
        return _Guarded(self, server)

    @contextmanager
    def begin(self, method: str, context: Context, *, stream: bool = False) -> Iterator[Admission]:
        """Lets a call in, counts it in and out and reports on it; refuses it while the server is closing."""
        self.in_flight += 1
        self.idle.clear()
        self.arrived.set()
        metadata = dict(context.invocation_metadata() or ())
        call = Call(method, str(metadata.get("x-request-id", ""))[:_MAX_REQUEST_ID])
        current.set(call)
        try:
            with (
                self._telemetry.of_call(call, context, stream=stream),
                self._admit(method, metadata, context) as admission,
            ):
                call.client = admission.client
                yield admission
        finally:
            self.in_flight -= 1
            if not self.in_flight:
                self.idle.set()

    def _admit(self, method: str, metadata: Mapping[str, str | bytes], context: Context) -> Admission:
        try:
            if self.closing.is_set():
                raise NotReady("the server is shutting down; send the request to another one")
            return OPEN if self._gate is None else self._gate.admit(method, metadata, context)
        except (Unauthenticated, Forbidden, Overloaded, NotReady) as error:
            self._telemetry.metrics.refused(error)
            raise


class _Guarded:
    """Takes a service's handlers as a server does, and gives them to the server wrapped."""

    def __init__(self, edge: Edge, server: grpc.aio.Server) -> None:
        self._edge, self._server = edge, server

    def add_generic_rpc_handlers(self, handlers: object) -> None:
        """Takes nothing: the same handlers come by name too."""

    def add_registered_method_handlers(self, service: str, handlers: Mapping[str, Handler]) -> None:
        """Adds a service's methods, unary or with streams both ways."""
        guarded = {name: self._guard(handler, f"/{service}/{name}") for name, handler in handlers.items()}
        self._server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service, guarded),))

    def _guard(self, handler: Handler, method: str) -> Handler:
        # Messages are decoded here, not by gRPC: after the caller is known, and as the caller's fault where they cannot
        # be, while gRPC would answer INTERNAL.
        decode = _decoder(handler.request_deserializer)
        if handler.stream_stream is not None:
            return grpc.stream_stream_rpc_method_handler(
                _guarded_stream(self._edge, handler.stream_stream, decode, method),
                response_serializer=handler.response_serializer,
            )
        return grpc.unary_unary_rpc_method_handler(
            _guarded_unary(self._edge, handler.unary_unary, decode, method),
            response_serializer=handler.response_serializer,
        )


def _guarded_unary(edge: Edge, method: Unary, decode: Decode, name: str) -> Unary:
    async def call(content: bytes, context: Context) -> Any:  # noqa: ANN401 - any message
        try:
            with edge.begin(name, context):
                return await method(decode(content), context)
        except Exception as error:
            await fail(context, name, error)

    return call


def _guarded_stream(edge: Edge, method: Stream, decode: Decode, name: str) -> Stream:
    async def requests(contents: AsyncIterator[bytes], admission: Admission) -> AsyncIterator[Any]:
        first = True
        async for content in contents:
            if not first:
                admission.spend()
            first = False
            yield decode(content)

    async def call(contents: AsyncIterator[bytes], context: Context) -> AsyncIterator[Any]:
        try:
            with edge.begin(name, context, stream=True) as admission:
                async for response in method(requests(contents, admission), context):
                    yield response
        except Exception as error:
            await fail(context, name, error)

    return call


def _decoder(deserialize: Decode) -> Decode:
    def decode(content: bytes) -> Any:  # noqa: ANN401 - any message
        try:
            return deserialize(content)
        except DecodeError:
            raise InvalidRequest(_MALFORMED) from None

    return decode


def masked(error: Exception, method: str) -> RequestError:
    """The error as a client may see it; one that nobody foresaw is logged in full."""
    if isinstance(error, RequestError):
        return error
    _log.error("%s failed", method, exc_info=error)
    return RequestError("internal error; the server's log has the cause")


async def fail(context: Context, method: str, error: Exception) -> None:
    """Ends a call with the status of `error`; see `errors`."""
    if isinstance(error, grpc.aio.AbortError):
        raise error
    shown = masked(error, method)
    if shown.retry_after is None:
        await context.abort(shown.code, str(shown))
    await context.abort(shown.code, str(shown), _retry_info(shown.code, str(shown), _milliseconds(shown.retry_after)))


@lru_cache(1024)
def _retry_info(code: grpc.StatusCode, message: str, milliseconds: int) -> tuple[tuple[str, str | bytes], ...]:
    """Trailing metadata that say when trying again makes sense.

    Twice: as RetryInfo in the status details, which people's code reads, and as `grpc-retry-pushback-ms`, which gRPC's
    own retries obey (gRFC A6).
    """
    info = RetryInfo(retry_delay=Duration(seconds=milliseconds // 1000, nanos=milliseconds % 1000 * 1_000_000))
    detail = AnyMessage()
    detail.Pack(info)
    status = Status(code=code.value[0], message=message, details=[detail])
    return (
        ("grpc-retry-pushback-ms", str(milliseconds)),
        ("grpc-status-details-bin", status.SerializeToString()),
    )


def _milliseconds(seconds: float) -> int:
    """Rounded up to one digit: nobody needs more, and refusals must cost little when there are many."""
    milliseconds = max(1, ceil(1e3 * seconds))
    unit: int = 10 ** (len(str(milliseconds)) - 1)
    return ceil(milliseconds / unit) * unit
