"""What stands between gRPC and every method of ours: malformed messages and failures become status codes here."""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import grpc
import grpc.aio
from google.protobuf.any_pb2 import Any as AnyMessage
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import DecodeError
from google.rpc.error_details_pb2 import RetryInfo
from google.rpc.status_pb2 import Status

from bertwire_server.call import Call, current
from bertwire_server.errors import InvalidRequest, NoSuchMethod, NotReady, RequestError

_log = logging.getLogger(__name__)
_MALFORMED = "the message cannot be decoded; check that it is of this method's type and that its text is UTF-8"
_MAX_REQUEST_ID = 128

Context = grpc.aio.ServicerContext[Any, Any]
Handler = Any  # grpc.RpcMethodHandler, whose fields the type stubs call optional though a handler of ours has them
Unary = Callable[[Any, Context], Awaitable[Any]]
Stream = Callable[[AsyncIterator[Any], Context], AsyncIterator[Any]]


class _Malformed:
    """Stands for a message that could not be decoded.

    gRPC would answer INTERNAL where a deserializer raises, though the fault is the caller's.
    """


class Edge:
    """Wraps the methods of services.

    Not an interceptor of gRPC's: that finds and wraps the handler anew in every call, for a tenth of the call's cost.

    Attributes:
        in_flight: calls that have begun and not ended.
        idle: set while there is none.
        arrived: set whenever a call begins.
        closing: whether new calls are refused with UNAVAILABLE.
    """

    def __init__(self) -> None:
        self.in_flight = 0
        self.idle = asyncio.Event()
        self.idle.set()
        self.arrived = asyncio.Event()
        self.closing = False

    def over(self, server: grpc.aio.Server) -> "_Guarded":
        """Stands for `server` where a service is added to it, by a generated `add_..._to_server`."""
        return _Guarded(self, server)

    @contextmanager
    def begin(self, method: str, context: Context) -> Iterator[Call]:
        """Counts a call in and out, and refuses it while the server is closing."""
        self.in_flight += 1
        self.idle.clear()
        self.arrived.set()
        try:
            if self.closing:
                raise NotReady("the server is shutting down; send the request to another one")
            call = Call(method, _request_id(context))
            current.set(call)
            yield call
        finally:
            self.in_flight -= 1
            if not self.in_flight:
                self.idle.set()


class _Guarded:
    """Takes a service's handlers as a server does, and gives them to the server wrapped."""

    def __init__(self, edge: Edge, server: grpc.aio.Server) -> None:
        self._edge, self._server = edge, server

    def add_generic_rpc_handlers(self, handlers: object) -> None:
        """Takes nothing: the same handlers come by name too."""

    def add_registered_method_handlers(self, service: str, handlers: Mapping[str, Handler]) -> None:
        """Adds a service's methods; one that only answers in a stream writes to its context, and is no generator."""
        guarded = {name: self._guard(handler, f"/{service}/{name}") for name, handler in handlers.items()}
        self._server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service, guarded),))

    def _guard(self, handler: Handler, method: str) -> Handler:
        if handler.stream_stream is not None:
            return grpc.stream_stream_rpc_method_handler(
                _guarded_stream(self._edge, handler.stream_stream, method),
                request_deserializer=_tolerant(handler.request_deserializer),
                response_serializer=handler.response_serializer,
            )
        if handler.unary_stream is not None:
            return grpc.unary_stream_rpc_method_handler(
                _guarded_unary(self._edge, handler.unary_stream, method),
                request_deserializer=_tolerant(handler.request_deserializer),
                response_serializer=handler.response_serializer,
            )
        return grpc.unary_unary_rpc_method_handler(
            _guarded_unary(self._edge, handler.unary_unary, method),
            request_deserializer=_tolerant(handler.request_deserializer),
            response_serializer=handler.response_serializer,
        )


def _guarded_unary(edge: Edge, method: Unary, name: str) -> Unary:
    async def call(request: Any, context: Context) -> Any:  # noqa: ANN401 - any message
        try:
            with edge.begin(name, context):
                return await method(_well_formed(request), context)
        except Exception as error:
            await fail(context, name, error)

    return call


def _guarded_stream(edge: Edge, method: Stream, name: str) -> Stream:
    async def requests(messages: AsyncIterator[Any]) -> AsyncIterator[Any]:
        async for message in messages:
            yield _well_formed(message)

    async def call(messages: AsyncIterator[Any], context: Context) -> AsyncIterator[Any]:
        try:
            with edge.begin(name, context):
                async for response in method(requests(messages), context):
                    yield response
        except Exception as error:
            await fail(context, name, error)

    return call


def _well_formed(message: Any) -> Any:  # noqa: ANN401 - any message
    if isinstance(message, _Malformed):
        raise InvalidRequest(_MALFORMED)
    return message


def masked(error: Exception, method: str) -> RequestError:
    """The error as a client may see it; one that nobody foresaw is logged in full."""
    if isinstance(error, RequestError):
        return error
    if isinstance(error, NotImplementedError):  # by the generated servicer, for a method that ours does not have
        return NoSuchMethod("this server does not answer the method")
    _log.error("%s failed", method, exc_info=error)
    return RequestError("internal error; the server's log has the cause")


async def fail(context: Context, method: str, error: Exception) -> None:
    """Ends a call with the status of `error`; see `errors`.

    When trying again makes sense is said twice: by RetryInfo in the status details, which people's code reads, and by
    `grpc-retry-pushback-ms`, which gRPC's own retries obey (gRFC A6).
    """
    if isinstance(error, grpc.aio.AbortError):
        raise error
    shown = masked(error, method)
    if shown.retry_after is None:
        await context.abort(shown.code, str(shown))
    milliseconds = max(1, round(1e3 * shown.retry_after))
    info = RetryInfo(retry_delay=Duration(seconds=milliseconds // 1000, nanos=milliseconds % 1000 * 1_000_000))
    detail = AnyMessage()
    detail.Pack(info)
    status = Status(code=shown.code.value[0], message=str(shown), details=[detail])
    trailing = (
        ("grpc-retry-pushback-ms", str(milliseconds)),
        ("grpc-status-details-bin", status.SerializeToString()),
    )
    await context.abort(shown.code, str(shown), trailing)


def _request_id(context: Context) -> str:
    for key, value in context.invocation_metadata() or ():
        if key == "x-request-id" and isinstance(value, str):
            return value[:_MAX_REQUEST_ID]
    return ""


def _tolerant(deserialize: Callable[[bytes], Any]) -> Callable[[bytes], Any]:
    def decode(content: bytes) -> Any:  # noqa: ANN401 - any message
        try:
            return deserialize(content)
        except DecodeError:
            return _Malformed()

    return decode
