"""What stands between gRPC and every method of ours: who calls, what it sent, and what becomes of failures."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Mapping
from contextlib import aclosing
from types import TracebackType
from typing import Any

from google.protobuf.message import DecodeError

from bertwire_server.access.gate import OPEN, Admission, Gate
from bertwire_server.call import Call, current
from bertwire_server.errors import Forbidden, InvalidRequest, NotReady, Overloaded, Unauthenticated
from bertwire_server.refusals import Refusals
from bertwire_server.status import fail
from bertwire_server.telemetry.reporting import Report, Telemetry
from bertwire_server.transport.context import Context
from bertwire_server.transport.server import Handler, Server

_MALFORMED = "the message cannot be decoded; check that it is of this method's type and that its text is UTF-8"
_CLOSING = "the server is shutting down; send what is unanswered to another one"
_MAX_REQUEST_ID = 128
# Methods that answer one message with a run of a model.
_RUN_A_MODEL = frozenset({"Classify", "Predict", "PredictPair", "ModelInfer"})

Servicer = Any  # grpc.RpcMethodHandler, whose fields the type stubs call optional though one of ours has them
Unary = Callable[[Any, Context], Awaitable[Any]]
UnaryStream = Callable[[Any, Context], AsyncIterator[Any]]
Stream = Callable[[AsyncIterator[Any], Context], AsyncIterator[Any]]
Decode = Callable[[bytes], Any]
Serialize = Callable[[Any], bytes]
Shed = Callable[[float], None]
Answer = Callable[[Context, Admission], Coroutine[Any, Any, None]]


class Edge:
    """Wraps the methods of services.

    Attributes:
        in_flight: calls that have begun and not ended.
        idle: set while there is none.
        arrived: set whenever a call begins.
        telemetry: told of every call.
        refusals: ends those that are not let in.
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
        self.refusals = Refusals()
        self.in_flight = 0
        self.idle = asyncio.Event()
        self.idle.set()
        self.arrived = asyncio.Event()
        self._closing = False
        self._streams: set[_Messages] = set()

    def over(self, server: Server) -> "_Guarded":
        """Stands for `server` where a service is added to it, by a generated `add_..._to_server`."""
        return _Guarded(self, server)

    def close(self) -> None:
        """Refuses new calls from now on, and reads no more from streams; what was read is answered."""
        self._closing = True
        for each in self._streams:
            each.stop()

    def passage(self, method: str, context: Context, *, sheds: bool = False, stream: bool = False) -> "_Passage":
        """Lets a call in and counts it, or raises what it is refused for; ends with a block around its answer.

        Args:
            method: its full name.
            context: its context.
            sheds: whether it is refused where it cannot be answered in time, before anything is read of it. Where there
                are more calls than can be answered, this is most of what the server does.
            stream: whether its messages are counted one by one.
        """
        metadata = dict(context.invocation_metadata())
        call = Call(method, str(metadata.get("x-request-id", ""))[:_MAX_REQUEST_ID])
        passage = _Passage(self, call, self.telemetry.of_call(call, context, stream=stream))
        passage.begin(metadata, context, self._shed if sheds else None)
        return passage

    def admit(self, method: str, metadata: Mapping[str, str | bytes], context: Context) -> Admission:
        """Lets a call in, or raises what it is refused for."""
        try:
            if self._closing:
                raise NotReady(_CLOSING)
            return OPEN if self._gate is None else self._gate.admit(method, metadata, context)
        except (Unauthenticated, Forbidden, Overloaded, NotReady) as error:
            self.telemetry.metrics.refused(error)
            raise

    def messages(self, context: Context, decode: Decode, admission: Admission) -> "_Messages":
        """The messages of a stream, until `close`."""
        found = _Messages(context, decode, admission)
        self._streams.add(found)
        return found

    def forget(self, messages: "_Messages") -> None:
        """Takes note that a stream has ended."""
        self._streams.discard(messages)


class _Passage:
    """A call that was let in; a class and not a generator, which would take twice the time."""

    __slots__ = ("_admission", "_call", "_edge", "_report")

    def __init__(self, edge: Edge, call: Call, report: Report) -> None:
        self._edge, self._call, self._report = edge, call, report
        self._admission = OPEN

    def begin(self, metadata: Mapping[str, str | bytes], context: Context, shed: Shed | None) -> None:
        """Lets the call in, or raises."""
        edge = self._edge
        edge.in_flight += 1
        edge.idle.clear()
        edge.arrived.set()
        self._report.__enter__()
        try:
            self._admission = edge.admit(self._call.method, metadata, context)
            self._call.client = self._admission.client
            if shed is not None and (remaining := context.time_remaining()) is not None:
                shed(remaining)
        except BaseException as error:
            self.__exit__(type(error), error, error.__traceback__)
            raise

    def __enter__(self) -> Admission:
        # Here and not before: the block is in the call's own task.
        current.set(self._call)
        return self._admission

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._admission.__exit__(kind, error, trace)
        edge = self._edge
        self._report.__exit__(kind, error, trace)
        edge.in_flight -= 1
        if not edge.in_flight:
            edge.idle.set()


class _Messages:
    """The messages of a stream, decoded; each beyond the first counts against the client's rate."""

    def __init__(self, context: Context, decode: Decode, admission: Admission) -> None:
        self._context, self._decode, self._admission = context, decode, admission
        self._first, self._stopped = True, False
        self._reader: asyncio.Task[Any] | None = None

    def __aiter__(self) -> "_Messages":
        return self

    async def __anext__(self) -> Any:  # noqa: ANN401 - any message
        if self._stopped:
            raise NotReady(_CLOSING)
        self._reader = asyncio.current_task()
        try:
            content = await self._context.read()
        except asyncio.CancelledError:
            if self._stopped and self._reader is not None and not self._reader.uncancel():
                raise NotReady(_CLOSING) from None
            raise
        finally:
            self._reader = None
        if content is None:
            raise StopAsyncIteration
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
    """Takes a service's methods as gRPC's own servers do, and adds them to ours."""

    def __init__(self, edge: Edge, server: Server) -> None:
        self._edge, self._server = edge, server

    def add_generic_rpc_handlers(self, handlers: object) -> None:
        """Takes nothing: the same methods come by name too."""

    def add_registered_method_handlers(self, service: str, handlers: Mapping[str, Servicer]) -> None:
        """Adds a service's methods."""
        for name, handler in handlers.items():
            full = f"/{service}/{name}"
            self._server.add(full, _handler(self._edge, full, handler))


def _handler(edge: Edge, method: str, servicer: Servicer) -> Handler:
    # Messages are decoded after the caller is known, and as the caller's fault where they cannot be.
    decode, serialize = _decoder(servicer.request_deserializer), servicer.response_serializer
    answer: Answer
    if servicer.stream_stream is not None:
        answer = _stream(edge, servicer.stream_stream, decode, serialize)
    elif servicer.unary_stream is not None:
        answer = _unary_stream(servicer.unary_stream, decode, serialize)
    else:
        answer = _unary(servicer.unary_unary, decode, serialize)
    sheds = method.rpartition("/")[2] in _RUN_A_MODEL
    streams = servicer.stream_stream is not None

    async def answered(passage: _Passage, context: Context) -> None:
        try:
            with passage as admission:
                await answer(context, admission)
        except Overloaded as error:
            await edge.refusals.refuse_in_task(context, method, error)
        except Exception as error:
            fail(context, method, error)

    def handle(context: Context) -> Coroutine[Any, Any, None] | None:
        try:
            passage = edge.passage(method, context, sheds=sheds, stream=streams)
        except Exception as error:
            edge.refusals.refuse(context, method, error)
            return None
        return answered(passage, context)

    return handle


def _unary(method: Unary, decode: Decode, serialize: Serialize) -> Answer:
    async def answer(context: Context, _: Admission) -> None:
        context.answer(serialize(await method(decode(await _only(context)), context)))

    return answer


def _unary_stream(method: UnaryStream, decode: Decode, serialize: Serialize) -> Answer:
    async def answer(context: Context, _: Admission) -> None:
        async for response in method(decode(await _only(context)), context):
            await context.write(serialize(response))
        context.end()

    return answer


def _stream(edge: Edge, method: Stream, decode: Decode, serialize: Serialize) -> Answer:
    async def answer(context: Context, admission: Admission) -> None:
        messages = edge.messages(context, decode, admission)
        try:
            async with aclosing(method(messages, context)) as responses:  # type: ignore[type-var]
                async for response in responses:
                    await context.write(serialize(response))
        finally:
            edge.forget(messages)
        context.end()

    return answer


async def _only(context: Context) -> bytes:
    content = await context.read()
    if content is None:
        raise InvalidRequest("the call has no message; send one")
    return content


def _decoder(deserialize: Decode) -> Decode:
    def decode(content: bytes) -> Any:  # noqa: ANN401 - any message
        try:
            return deserialize(content)
        except DecodeError:
            raise InvalidRequest(_MALFORMED) from None

    return decode
