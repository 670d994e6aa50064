"""What stands between gRPC and every method of ours: who calls, what it sent, and what becomes of failures."""

import asyncio
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Mapping
from contextlib import aclosing
from types import TracebackType
from typing import Any

from google.protobuf.message import DecodeError

from bertwire_server.access.gate import OPEN, Admission, Gate
from bertwire_server.call import Call, current
from bertwire_server.errors import AnswerTooLarge, Forbidden, InvalidRequest, NotReady, Overloaded, Unauthenticated
from bertwire_server.refusals import Refusals
from bertwire_server.status import fail
from bertwire_server.telemetry.reporting import Report, Telemetry
from bertwire_server.transport.context import Context
from bertwire_server.transport.server import Handler, Server

_MALFORMED = "the message cannot be decoded; check that it is of this method's type and that its text is UTF-8"
_CLOSING = "the server is shutting down; send what is unanswered to another one"
# How long the only message of a call may take to come once the server closes.
_ON_THE_WAY_SECONDS = 1.0
_MAX_REQUEST_ID = 128
# How long after a message that did not come the core may take to say that the caller has gone.
_GONE_SECONDS = 0.05
# Methods that answer one message with a run of a model.
_RUN_A_MODEL = frozenset({"Classify", "Predict", "PredictPair", "ModelInfer"})

Servicer = Any  # grpc.RpcMethodHandler, whose fields the type stubs call optional though one of ours has them
Unary = Callable[[Any, Context], Awaitable[Any]]
UnaryStream = Callable[[Any, Context], AsyncIterator[Any]]
Stream = Callable[[AsyncIterator[Any], Context], AsyncIterator[Any]]
Decode = Callable[[bytes], Any]
Serialize = Callable[[Any], bytes]
Shed = Callable[[float], Callable[[], object] | None]
Answer = Callable[[Context, "_Passage"], Coroutine[Any, Any, None]]


class Edge:
    """Wraps the methods of services.

    Attributes:
        in_flight: calls that have begun and not ended.
        idle: set while there is none.
        telemetry: told of every call.
        refusals: ends those that are not let in.
    """

    def __init__(
        self, gate: Gate | None, telemetry: Telemetry, shed: Shed | None = None, most_bytes: int = sys.maxsize
    ) -> None:
        """Begins open.

        Args:
            gate: decides who may call what; None lets everyone in.
            telemetry: told of every call.
            shed: given the seconds that a caller will wait, raises `Overloaded` where no answer can be ready by then;
                what it gives is called when the call has been read or has ended. None: nothing is refused unread.
            most_bytes: of a message that is sent; the core would end a call for a larger one in words of its own.
        """
        self._gate, self.telemetry, self._shed = gate, telemetry, shed
        self.refusals = Refusals()
        self.in_flight = 0
        self.idle = asyncio.Event()
        self.idle.set()
        self._most_bytes = most_bytes
        self._closing = False
        self._holding: asyncio.Event | None = None
        self._reading: set[_Messages] = set()

    def over(self, server: Server) -> "_Guarded":
        """Stands for `server` where a service is added to it, by a generated `add_..._to_server`."""
        return _Guarded(self, server)

    def hold(self) -> None:
        """Keeps the answers of calls back until `close`: a caller that waits for one sends nothing."""
        self._holding = asyncio.Event()

    async def released(self) -> None:
        """Returns when answers may go out."""
        if self._holding is not None:
            await self._holding.wait()

    def close(self) -> None:
        """Has streams end with UNAVAILABLE once what has come of them is answered; other calls are answered.

        A call whose message does not come soon ends so too: its sender may have gone, or means no good.
        """
        self._closing = True
        if self._holding is not None:
            self._holding.set()
        for each in self._reading:
            each.close()

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

    def admit(self, call: Call, metadata: Mapping[str, str | bytes], context: Context) -> Admission:
        """Lets a call in, or raises what it is refused for; notes who calls in either case."""

        def known(client: str) -> None:
            call.client = client

        try:
            return OPEN if self._gate is None else self._gate.admit(call.method, metadata, context, known)
        except (Unauthenticated, Forbidden, Overloaded) as error:
            self.telemetry.metrics.refused(error)
            raise

    def messages(self, context: Context, decode: Decode, admission: Admission, seconds: float = 0.0) -> "_Messages":
        """The messages of a call, until `close` and so many seconds longer."""
        found = _Messages(context, decode, admission, seconds)
        self._reading.add(found)
        if self._closing:
            found.close()
        return found

    def sized(self, serialize: Serialize) -> Serialize:
        """`serialize`, which raises `InvalidRequest` for what would be too large to be sent."""

        def limited(message: Any) -> bytes:  # noqa: ANN401 - any message
            content = serialize(message)
            if len(content) > self._most_bytes:
                raise AnswerTooLarge(len(content), self._most_bytes)
            return content

        return limited

    def forget(self, messages: "_Messages") -> None:
        """Takes note that nothing more is read of a call."""
        self._reading.discard(messages)


class _Passage:
    """A call that was let in; a class and not a generator, which would take twice the time.

    Attributes:
        admission: what the gate said.
    """

    __slots__ = ("_call", "_edge", "_report", "_was_read", "admission")

    def __init__(self, edge: Edge, call: Call, report: Report) -> None:
        self._edge, self._call, self._report = edge, call, report
        self.admission = OPEN
        self._was_read: Callable[[], object] | None = None

    def begin(self, metadata: Mapping[str, str | bytes], context: Context, shed: Shed | None) -> None:
        """Lets the call in, or raises."""
        edge = self._edge
        edge.in_flight += 1
        edge.idle.clear()
        try:
            self._report.__enter__()
            self.admission = edge.admit(self._call, metadata, context)
            if shed is not None and (remaining := context.time_remaining()) is not None:
                self._was_read = shed(remaining)
        except BaseException as error:
            self.__exit__(type(error), error, error.__traceback__)
            raise

    def was_read(self) -> None:
        """What was let in unread has been read: from here on it is known for what it is."""
        if self._was_read is not None:
            self._was_read()

    def __enter__(self) -> None:
        # Here and not before: the block is in the call's own task.
        current.set(self._call)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        edge = self._edge
        try:
            self.was_read()
            self.admission.__exit__(kind, error, trace)
            self._report.__exit__(kind, error, trace)
        finally:
            edge.in_flight -= 1
            if not edge.in_flight:
                edge.idle.set()


class _Messages:
    """The messages of a call, decoded; each beyond the first counts against the client's rate."""

    def __init__(self, context: Context, decode: Decode, admission: Admission, seconds: float) -> None:
        self._context, self._decode, self._admission, self._seconds = context, decode, admission, seconds
        self._first, self._stopped = True, False
        self._reader: asyncio.Task[Any] | None = None

    def __aiter__(self) -> "_Messages":
        return self

    async def __anext__(self) -> Any:  # noqa: ANN401 - any message
        if self._stopped and not self._context.read_no_further():
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

    def close(self) -> None:
        """Raises `NotReady` in whoever waits for more than has come, in so many seconds."""
        self._context.loop.call_later(self._seconds, self._stop)

    def _stop(self) -> None:
        self._stopped = True
        if self._reader is not None and not self._context.read_no_further():
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
    decode, serialize = _decoder(servicer.request_deserializer), edge.sized(servicer.response_serializer)
    answer: Answer
    if servicer.stream_stream is not None:
        answer = _stream(edge, servicer.stream_stream, decode, serialize)
    elif servicer.unary_stream is not None:
        answer = _unary_stream(edge, servicer.unary_stream, decode, serialize)
    else:
        answer = _unary(edge, servicer.unary_unary, decode, serialize)
    sheds = method.rpartition("/")[2] in _RUN_A_MODEL
    streams = servicer.stream_stream is not None

    async def answered(passage: _Passage, context: Context) -> None:
        try:
            with passage:
                await answer(context, passage)
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


def _unary(edge: Edge, method: Unary, decode: Decode, serialize: Serialize) -> Answer:
    async def answer(context: Context, passage: _Passage) -> None:
        response = serialize(await method(await _only(edge, context, decode, passage), context))
        await edge.released()
        context.answer(response)

    return answer


def _unary_stream(edge: Edge, method: UnaryStream, decode: Decode, serialize: Serialize) -> Answer:
    async def answer(context: Context, passage: _Passage) -> None:
        await _send(context, method(await _only(edge, context, decode, passage), context), serialize)

    return answer


def _stream(edge: Edge, method: Stream, decode: Decode, serialize: Serialize) -> Answer:
    async def answer(context: Context, passage: _Passage) -> None:
        context.read_ahead()
        messages = edge.messages(context, decode, passage.admission)
        try:
            await _send(context, method(messages, context), serialize)
        finally:
            edge.forget(messages)

    return answer


async def _send(context: Context, responses: AsyncIterator[Any], serialize: Serialize) -> None:
    try:
        async with aclosing(responses):  # type: ignore[type-var]
            async for response in responses:
                await context.write(serialize(response))
    except Exception:
        await context.all_sent()
        raise
    # A call that ends while answers wait to be sent would not be waited for at a shutdown.
    await context.all_sent()
    context.end()


async def _only(edge: Edge, context: Context, decode: Decode, passage: _Passage) -> Any:  # noqa: ANN401 - any message
    """The message of a call that has one; others that follow are not read."""
    messages = edge.messages(context, decode, passage.admission, _ON_THE_WAY_SECONDS)
    try:
        message = await anext(messages, None)
    finally:
        edge.forget(messages)
    passage.was_read()
    if message is None:
        await asyncio.sleep(_GONE_SECONDS)
        # The core does not always say which it was.
        raise InvalidRequest("the call has no message, or one that is too large when unpacked; send a smaller one")
    return message


def _decoder(deserialize: Decode) -> Decode:
    def decode(content: bytes) -> Any:  # noqa: ANN401 - any message
        try:
            return deserialize(content)
        except DecodeError:
            raise InvalidRequest(_MALFORMED) from None

    return decode
