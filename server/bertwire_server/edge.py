"""What stands between gRPC and every method of ours: who calls, what it sent, and what becomes of failures."""

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
# Seconds after the server closes in which messages are read. Halved, a slow network's calls fail at a restart; doubled,
# a caller that sends nothing delays the exit by so much.
_LAST_MESSAGE_SECONDS = 1.0
# Seconds without a message after which a stream has none on its way, once the server closes.
_QUIET_SECONDS = 0.05
_MAX_REQUEST_ID = 128
# Seconds that gRPC may take, after a message that did not come, to say that the caller has gone. Halved, some calls of
# callers who left count as wrong requests.
_GONE_SECONDS = 0.05

Servicer = Any  # grpc.RpcMethodHandler, whose fields the type stubs call optional
Unary = Callable[[Any, Any], Awaitable[Any]]
Stream = Callable[[AsyncIterator[Any], Any], AsyncIterator[Any]]


class Edge:
    """Wraps the methods of services. Belongs to one event loop.

    Attributes:
        in_flight: calls that have begun and not ended.
        idle: set while there is none.
        telemetry: told of every call.
    """

    def __init__(self, gate: Gate | None, telemetry: Telemetry, most_bytes: int = sys.maxsize) -> None:
        """Begin open.

        Args:
            gate: decides who may call what; None lets everyone in.
            telemetry: told of every call.
            most_bytes: of a message that is sent; gRPC would end a call for a larger one in words of its own.
        """
        self._gate, self.telemetry, self._most_bytes = gate, telemetry, most_bytes
        self.in_flight, self.idle = 0, asyncio.Event()
        self.idle.set()
        self._closing = False
        self._released = asyncio.Event()
        self._released.set()
        self._reading: set[_Messages] = set()

    def over(self, server: grpc.aio.Server) -> "_Guarded":
        """Stand for `server` where a generated `add_..._to_server` adds a service to it."""
        return _Guarded(self, server)

    def hold(self) -> None:
        """Keep the answers of unary calls back until `close`: a caller that waits for one sends nothing."""
        self._released.clear()

    def close(self) -> None:
        """Have streams end with UNAVAILABLE once what was read of them is answered; other calls are answered."""
        self._closing = True
        self._released.set()
        for each in self._reading:
            each.close()

    @contextmanager
    def call(self, method: str, context: Context, *, stream: bool) -> Iterator[Permit]:
        """Let a call in and report what becomes of it, or raise what it is refused for.

        Args:
            method: its full name.
            context: gRPC's.
            stream: whether its messages are counted, and not the call.
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
            # Not before its answer has been sent, however slowly the caller takes it.
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
        """Give a call's messages; once the edge is closed, until none comes for so many seconds."""
        found = _Messages(context, quiet_seconds)
        self._reading.add(found)
        if self._closing:
            found.close()
        try:
            yield found
        finally:
            self._reading.discard(found)

    def sized(self, content: bytes) -> bytes:
        """Return a message that can be sent; raise `AnswerTooLarge` for others."""
        if len(content) > self._most_bytes:
            raise AnswerTooLarge(len(content), self._most_bytes)
        return content

    async def released(self) -> None:
        """Return when answers may go out."""
        await self._released.wait()


class _Messages:
    """Reads a call's messages, after `close` only those that have come."""

    def __init__(self, context: Context, quiet_seconds: float) -> None:
        self._context, self._quiet_seconds = context, quiet_seconds
        self._end: float | None = None
        self._reader: asyncio.Task[Any] | None = None

    async def next(self) -> bytes | None:
        """Read one; None after the last. Raises `NotReady` where none comes any more."""
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
        """Read only what has come: until none is there for some time, and for a second at most."""
        loop = asyncio.get_running_loop()
        self._end = loop.time() + _LAST_MESSAGE_SECONDS
        if (reader := self._reader) is not None:
            loop.call_later(self._quiet_seconds, lambda: self._reader is reader and reader.cancel())


def _bytes(message: object) -> bytes | None:
    """Return a message; None for gRPC's mark of the end."""
    return message if isinstance(message, bytes) else None


class _Guarded:
    """Takes a service's methods as a gRPC server does, and adds them to one, wrapped."""

    def __init__(self, edge: Edge, server: grpc.aio.Server) -> None:
        self._edge, self._server = edge, server

    def add_generic_rpc_handlers(self, handlers: object) -> None:
        """Take nothing: the same methods come by name too."""

    def add_registered_method_handlers(self, service: str, handlers: Mapping[str, Servicer]) -> None:
        """Add a service's methods."""
        wrapped = {name: _handler(self._edge, f"/{service}/{name}", each) for name, each in handlers.items()}
        self._server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service, wrapped),))


def _handler(edge: Edge, method: str, servicer: Servicer) -> "grpc.RpcMethodHandler[Any, Any]":
    """Make gRPC's handler of a method. All read and write bytes, so that failures to decode are ours to tell.

    Those with one request are handlers of a stream of requests for gRPC, which would else read the message before it
    is known who calls.
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
    """Read the message of a call that has one; others that follow are not read."""
    with edge.messages(context, _LAST_MESSAGE_SECONDS) as messages:
        content = await messages.next()
    if content is None:
        await asyncio.sleep(_GONE_SECONDS)
        # gRPC does not always say which it was.
        raise InvalidRequest("the call has no message, or one that is too large when unpacked; send a smaller one")
    return content


def _decoded(servicer: Servicer, content: bytes) -> Any:  # noqa: ANN401 - any message
    try:
        return servicer.request_deserializer(content)
    except DecodeError:
        raise InvalidRequest(_MALFORMED) from None
