"""What stands between gRPC and every method of ours: who calls, what it sent, and what becomes of failures."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import aclosing
from types import TracebackType
from typing import Any

import grpc
import grpc.aio
from google.protobuf.message import DecodeError

from bertwire_server.access.gate import OPEN, Admission, Gate
from bertwire_server.call import Call, current
from bertwire_server.errors import Forbidden, InvalidRequest, NotReady, Overloaded, Unauthenticated
from bertwire_server.status import fail
from bertwire_server.telemetry.reporting import Telemetry

_MALFORMED = "the message cannot be decoded; check that it is of this method's type and that its text is UTF-8"
_CLOSING = "the server is shutting down; send what is unanswered to another one"
_MAX_REQUEST_ID = 128
# Methods that answer one message with a run of a model.
_RUN_A_MODEL = frozenset({"Classify", "Predict", "PredictPair", "ModelInfer"})

Context = grpc.aio.ServicerContext[Any, Any]
Handler = Any  # grpc.RpcMethodHandler, whose fields the type stubs call optional though a handler of ours has them
Unary = Callable[[Any, Context], Awaitable[Any]]
Stream = Callable[[AsyncIterator[Any], Context], AsyncIterator[Any]]
Decode = Callable[[bytes], Any]
Shed = Callable[[float], None]


class Edge:
    """Wraps the methods of services.

    Not an interceptor of gRPC's: that finds and wraps the handler anew in every call, for a tenth of the call's cost.

    Attributes:
        in_flight: calls that have begun and not ended.
        idle: set while there is none.
        arrived: set whenever a call begins.
        telemetry: told of every call.
    """

    def __init__(self, gate: Gate | None, telemetry: Telemetry, shed: Shed | None = None) -> None:
        """Begins open.

        Args:
            gate: decides who may call what; None lets everyone in.
            telemetry: told of every call.
            shed: given the seconds that a caller will wait, raises `Overloaded` where no answer can be ready by then;
                None: never.
        """
        self._gate, self.telemetry, self._shed = gate, telemetry, shed
        self.in_flight = 0
        self.idle = asyncio.Event()
        self.idle.set()
        self.arrived = asyncio.Event()
        self._closing = False
        self._streams: set[_Messages] = set()

    def over(self, server: grpc.aio.Server) -> "_Guarded":
        """Stands for `server` where a service is added to it, by a generated `add_..._to_server`."""
        return _Guarded(self, server)

    def close(self) -> None:
        """Refuses new calls from now on, and reads no more from streams; what was read is answered."""
        self._closing = True
        for each in self._streams:
            each.stop()

    def admit(self, method: str, metadata: Mapping[str, str | bytes], context: Context) -> Admission:
        """Lets a call in, or raises what it is refused for."""
        try:
            if self._closing:
                raise NotReady(_CLOSING)
            return OPEN if self._gate is None else self._gate.admit(method, metadata, context)
        except (Unauthenticated, Forbidden, Overloaded, NotReady) as error:
            self.telemetry.metrics.refused(error)
            raise

    def shed(self, context: Context) -> None:
        """Refuses a call that cannot be answered in time before anything is read of it.

        Where there are more calls than can be answered, this is most of what the server does.
        """
        remaining = context.time_remaining()
        if remaining is not None and self._shed is not None:
            self._shed(remaining)

    def passage(self, method: str, context: Context, *, stream: bool = False) -> "_Passage":
        """Lets a call in, counts it in and out and reports on it, around the block."""
        metadata = dict(context.invocation_metadata() or ())
        call = Call(method, str(metadata.get("x-request-id", ""))[:_MAX_REQUEST_ID])
        return _Passage(self, call, metadata, context, stream=stream)

    def messages(self, contents: AsyncIterator[bytes], decode: Decode, admission: Admission) -> "_Messages":
        """The messages of a stream, until `close`."""
        found = _Messages(contents, decode, admission)
        self._streams.add(found)
        return found

    def forget(self, messages: "_Messages") -> None:
        """Takes note that a stream has ended."""
        self._streams.discard(messages)


class _Passage:
    """A call on its way through; a class and not a generator, which would take twice the time."""

    __slots__ = ("_admission", "_call", "_context", "_edge", "_metadata", "_report")

    def __init__(
        self, edge: Edge, call: Call, metadata: Mapping[str, str | bytes], context: Context, *, stream: bool
    ) -> None:
        self._edge, self._call, self._metadata, self._context = edge, call, metadata, context
        self._report = edge.telemetry.of_call(call, context, stream=stream)

    def __enter__(self) -> Admission:
        edge = self._edge
        edge.in_flight += 1
        edge.idle.clear()
        edge.arrived.set()
        current.set(self._call)
        self._report.__enter__()
        try:
            self._admission = edge.admit(self._call.method, self._metadata, self._context)
        except BaseException as error:
            self._leave(type(error), error, error.__traceback__)
            raise
        self._call.client = self._admission.client
        return self._admission

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._admission.__exit__(kind, error, trace)
        self._leave(kind, error, trace)

    def _leave(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        edge = self._edge
        self._report.__exit__(kind, error, trace)
        edge.in_flight -= 1
        if not edge.in_flight:
            edge.idle.set()


class _Messages:
    """The messages of a stream, decoded; each beyond the first counts against the client's rate."""

    def __init__(self, contents: AsyncIterator[bytes], decode: Decode, admission: Admission) -> None:
        self._contents, self._decode, self._admission = contents.__aiter__(), decode, admission
        self._first, self._stopped = True, False
        self._reader: asyncio.Task[Any] | None = None

    def __aiter__(self) -> "_Messages":
        return self

    async def __anext__(self) -> Any:  # noqa: ANN401 - any message
        if self._stopped:
            raise NotReady(_CLOSING)
        self._reader = asyncio.current_task()
        try:
            content = await anext(self._contents)
        except asyncio.CancelledError:
            if self._stopped and self._reader is not None and not self._reader.uncancel():
                raise NotReady(_CLOSING) from None
            raise
        finally:
            self._reader = None
        if not self._first:
            self._admission.spend()
        self._first = False
        return self._decode(content)

    def stop(self) -> None:
        """Raises `NotReady` in whoever reads, now or next."""
        self._stopped = True
        if self._reader is not None:
            self._reader.cancel()


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
        # Messages are decoded here, not by gRPC: after the caller is known, and as the caller's fault where they cannot
        # be, while gRPC would answer INTERNAL.
        decode = _decoder(handler.request_deserializer)
        serialize = handler.response_serializer
        if handler.stream_stream is not None:
            stream = _guarded_stream(self._edge, handler.stream_stream, decode, method)
            return grpc.stream_stream_rpc_method_handler(stream, response_serializer=serialize)
        if handler.unary_stream is not None:
            written = _guarded_unary_stream(self._edge, handler.unary_stream, decode, method)
            return grpc.unary_stream_rpc_method_handler(written, response_serializer=serialize)
        unary = _guarded_unary(self._edge, handler.unary_unary, decode, method)
        # As a stream of which one message is read: a call that is refused costs less unread.
        return grpc.stream_unary_rpc_method_handler(unary, response_serializer=serialize)


def _guarded_unary(edge: Edge, method: Unary, decode: Decode, name: str) -> Unary:
    sheds = name.rpartition("/")[2] in _RUN_A_MODEL

    async def call(_: AsyncIterator[bytes], context: Context) -> Any:  # noqa: ANN401 - any message
        try:
            with edge.passage(name, context):
                if sheds:
                    edge.shed(context)
                return await method(decode(await _only(context)), context)
        except Exception as error:
            await fail(context, name, error)

    return call


async def _only(context: Context) -> bytes:
    content = await context.read()
    if not isinstance(content, bytes):
        raise InvalidRequest("the call has no message; send one")
    return content


def _guarded_unary_stream(edge: Edge, method: Unary, decode: Decode, name: str) -> Unary:
    async def call(content: bytes, context: Context) -> Any:  # noqa: ANN401 - any message
        try:
            with edge.passage(name, context):
                return await method(decode(content), context)
        except Exception as error:
            await fail(context, name, error)

    return call


def _guarded_stream(edge: Edge, method: Stream, decode: Decode, name: str) -> Stream:
    async def call(contents: AsyncIterator[bytes], context: Context) -> AsyncIterator[Any]:
        try:
            with edge.passage(name, context, stream=True) as admission:
                messages = edge.messages(contents, decode, admission)
                try:
                    async with aclosing(method(messages, context)) as responses:  # type: ignore[type-var]
                        async for response in responses:
                            yield response
                finally:
                    edge.forget(messages)
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
