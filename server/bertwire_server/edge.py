"""Wrapper around every RPC method: admission, request parsing, error mapping, drain."""

import asyncio
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import aclosing, contextmanager
from typing import Any

import grpc
import grpc.aio
from google.protobuf.message import DecodeError

from bertwire_server.access.gate import OPEN, Gate, Permit
from bertwire_server.call import Call, current
from bertwire_server.errors import AnswerTooLarge, Forbidden, InvalidRequest, NotReady, Overloaded, Unauthenticated
from bertwire_server.rpc import Context
from bertwire_server.status import abort
from bertwire_server.telemetry.reporting import Telemetry

_MALFORMED = "the message cannot be decoded; check that it is of this method's type and that its text is UTF-8"
_CLOSING = "the server is shutting down; send what is unanswered to another one"
# Seconds after closing in which messages are still read. Halved, calls on a slow network fail at a restart; doubled, an
# idle caller delays the exit by that.
_LAST_MESSAGE_SECONDS = 1.0
# Seconds without a message after which a stream has none in transit, once the server is closing. Halved, messages on
# a network between continents are answered by another server instead; doubled, each idle stream ends that much later.
_QUIET_SECONDS = 0.2
_MAX_REQUEST_ID = 128
# Seconds for gRPC to report a disconnected caller after its message is missing. Halved, some disconnects count as
# invalid requests.
_GONE_SECONDS = 0.05

Servicer = Any  # grpc.RpcMethodHandler, whose fields the type stubs call optional
Unary = Callable[[Any, Any], Awaitable[Any]]
Stream = Callable[[AsyncIterator[Any], Any], AsyncIterator[Any]]


class Edge:
    """Wraps the methods of services. Belongs to one event loop.

    Attributes:
        in_flight: calls that have begun and not ended.
        idle: set while there is none.
        telemetry: observes every call.
    """

    def __init__(self, gate: Gate | None, telemetry: Telemetry, most_bytes: int = sys.maxsize) -> None:
        """Create an open edge.

        Args:
            gate: authorises callers; None accepts everyone.
            telemetry: observes every call.
            most_bytes: largest message to send; above gRPC's limit, gRPC would end the call with its own error.
        """
        self._gate, self.telemetry, self._most_bytes = gate, telemetry, most_bytes
        self.in_flight, self.idle = 0, asyncio.Event()
        self.idle.set()
        self._closing = False
        self._released = asyncio.Event()
        self._released.set()
        self._reading: set[_Messages] = set()

    def over(self, server: grpc.aio.Server) -> "_Guarded":
        """Return a stand-in for `server`, for a generated `add_..._to_server`, that adds wrapped methods."""
        return _Guarded(self, server)

    def hold(self) -> None:
        """Hold back the answers of unary calls until `close`, so that callers that wait for one send no new call."""
        self._released.clear()

    def close(self) -> None:
        """End streams with UNAVAILABLE once their received messages are answered; unary calls finish."""
        self._closing = True
        self._released.set()
        for each in self._reading:
            each.close()

    @contextmanager
    def call(self, method: str, context: Context, *, stream: bool) -> Iterator[Permit]:
        """Admit a call and report its outcome, or raise the refusal.

        Args:
            method: full name.
            context: gRPC's context.
            stream: whether to count messages instead of the call.
        """
        self.in_flight += 1
        self.idle.clear()
        try:
            metadata = dict(context.invocation_metadata() or ())
            call = Call(method, str(metadata.get("x-request-id", ""))[:_MAX_REQUEST_ID])
            current.set(call)
            with self.telemetry.of_call(call, context, stream=stream), self._admit(call, metadata, context) as permit:
                yield permit
        finally:
            # The call ends only when its answer is sent, however slow the caller reads.
            context.add_done_callback(lambda _: self._ended())  # type: ignore[arg-type]  # of another context

    def _ended(self) -> None:
        self.in_flight -= 1
        if not self.in_flight:
            self.idle.set()

    def _admit(self, call: Call, metadata: Mapping[str, str | bytes], context: Context) -> Permit:
        def known(client: str) -> None:
            call.client = client

        try:
            return OPEN if self._gate is None else self._gate.admit(call.method, metadata, context, known)
        except (Unauthenticated, Forbidden, Overloaded) as error:
            self.telemetry.metrics.refused(error)
            raise

    @contextmanager
    def messages(self, context: Context, quiet_seconds: float) -> Iterator["_Messages"]:
        """Yield the call's messages; once the edge is closing, reading ends after `quiet_seconds` without one."""
        found = _Messages(context, quiet_seconds)
        self._reading.add(found)
        if self._closing:
            found.close()
        try:
            yield found
        finally:
            self._reading.discard(found)

    def sized(self, content: bytes) -> bytes:
        """Return the message; raise `AnswerTooLarge` where it exceeds the limit."""
        if len(content) > self._most_bytes:
            raise AnswerTooLarge(len(content), self._most_bytes)
        return content

    async def released(self) -> None:
        """Wait until answers may be sent."""
        await self._released.wait()


class _Messages:
    """The messages of a call; after `close` only those already sent."""

    def __init__(self, context: Context, quiet_seconds: float) -> None:
        self._context, self._quiet_seconds = context, quiet_seconds
        self._end: float | None = None
        self._reader: asyncio.Task[Any] | None = None

    async def next(self) -> bytes | None:
        """Return the next message; None after the last. Raise `NotReady` once closed and no message arrives."""
        if self._end is not None:
            return await self._last(self._end)
        self._reader = asyncio.current_task()
        try:
            return _bytes(await self._context.read())
        except asyncio.CancelledError:
            if self._end is not None and self._reader is not None and not self._reader.uncancel():
                raise NotReady(_CLOSING) from None
            raise
        finally:
            self._reader = None

    async def _last(self, end: float) -> bytes | None:
        try:
            async with asyncio.timeout_at(min(end, asyncio.get_running_loop().time() + self._quiet_seconds)):
                return _bytes(await self._context.read())
        except TimeoutError:
            raise NotReady(_CLOSING) from None

    def close(self) -> None:
        """Read only messages in transit: until the quiet time passes without one, at most _LAST_MESSAGE_SECONDS."""
        loop = asyncio.get_running_loop()
        self._end = loop.time() + _LAST_MESSAGE_SECONDS
        if (reader := self._reader) is not None:
            loop.call_later(self._quiet_seconds, lambda: self._reader is reader and reader.cancel())


def _bytes(message: object) -> bytes | None:
    """Return the message; None for gRPC's end-of-stream marker."""
    return message if isinstance(message, bytes) else None


class _Guarded:
    """A server for generated `add_..._to_server` functions that adds a service's methods, wrapped."""

    def __init__(self, edge: Edge, server: grpc.aio.Server) -> None:
        self._edge, self._server = edge, server

    def add_generic_rpc_handlers(self, handlers: object) -> None:
        """Ignore the handlers: the same methods are registered by name too."""

    def add_registered_method_handlers(self, service: str, handlers: Mapping[str, Servicer]) -> None:
        """Add a service's methods."""
        wrapped = {name: _handler(self._edge, f"/{service}/{name}", each) for name, each in handlers.items()}
        self._server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service, wrapped),))


def _handler(edge: Edge, method: str, servicer: Servicer) -> "grpc.RpcMethodHandler[Any, Any]":
    """Return gRPC's handler of a method. It transfers bytes, so that decoding errors are reported here.

    Methods with a single request are registered as request streams, since gRPC would otherwise read the message before
    the caller is authorised.
    """
    if servicer.stream_stream is not None:
        return grpc.stream_stream_rpc_method_handler(_stream(edge, method, servicer))
    if servicer.unary_stream is not None:
        return grpc.stream_stream_rpc_method_handler(_unary_stream(edge, method, servicer))
    return grpc.stream_unary_rpc_method_handler(_unary(edge, method, servicer))


def _unary(edge: Edge, method: str, servicer: Servicer) -> Any:  # noqa: ANN401 - gRPC's stubs know no async handlers
    answer: Unary = servicer.unary_unary

    async def handle(_: object, context: Context) -> bytes:
        try:
            with edge.call(method, context, stream=False):
                request = _decoded(servicer, await _only(edge, context))
                response = edge.sized(servicer.response_serializer(await answer(request, context)))
                await edge.released()
                return response
        except Exception as error:
            await abort(context, method, error)

    return handle


def _unary_stream(edge: Edge, method: str, servicer: Servicer) -> Any:  # noqa: ANN401

    async def handle(_: object, context: Context) -> None:
        try:
            with edge.call(method, context, stream=False):
                request = _decoded(servicer, await _only(edge, context))
                await _send(edge, context, servicer, servicer.unary_stream(request, context))
        except Exception as error:
            await abort(context, method, error)

    return handle


def _stream(edge: Edge, method: str, servicer: Servicer) -> Any:  # noqa: ANN401
    answer: Stream = servicer.stream_stream

    async def requests(messages: _Messages, permit: Permit) -> AsyncIterator[Any]:
        first = True
        while (content := await messages.next()) is not None:
            if not first:
                permit.spend()
            first = False
            yield _decoded(servicer, content)

    async def handle(_: object, context: Context) -> None:
        try:
            with edge.call(method, context, stream=True) as permit, edge.messages(context, _QUIET_SECONDS) as messages:
                await _send(edge, context, servicer, answer(requests(messages, permit), context))
        except Exception as error:
            await abort(context, method, error)

    return handle


async def _send(edge: Edge, context: Context, servicer: Servicer, responses: AsyncIterator[Any]) -> None:
    async with aclosing(responses):  # type: ignore[type-var]
        async for response in responses:
            await context.write(edge.sized(servicer.response_serializer(response)))


async def _only(edge: Edge, context: Context) -> bytes:
    """Read the single message of a call; ignore others."""
    with edge.messages(context, _LAST_MESSAGE_SECONDS) as messages:
        content = await messages.next()
    if content is None:
        await asyncio.sleep(_GONE_SECONDS)
        # gRPC does not always distinguish the two.
        raise InvalidRequest("the call has no message, or one that is too large when unpacked; send a smaller one")
    return content


def _decoded(servicer: Servicer, content: bytes) -> Any:  # noqa: ANN401 - any message
    try:
        return servicer.request_deserializer(content)
    except DecodeError:
        raise InvalidRequest(_MALFORMED) from None
