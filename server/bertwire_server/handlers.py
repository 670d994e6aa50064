"""gRPC handlers of methods: decoding, admission by the edge, encoding, errors as statuses."""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import aclosing
from typing import Any

import grpc
import grpc.aio
from google.protobuf.message import DecodeError

from bertwire_server.access.gate import Permit
from bertwire_server.edge import Edge
from bertwire_server.errors import InvalidRequest
from bertwire_server.incoming import LAST_MESSAGE_SECONDS, QUIET_SECONDS, Messages
from bertwire_server.rpc import Context
from bertwire_server.status import abort

_MALFORMED = "the message cannot be decoded; check that it is of this method's type and that its text is UTF-8"

Servicer = Any  # grpc.RpcMethodHandler, whose fields the type stubs call optional
Unary = Callable[[Any, Any], Awaitable[Any]]
Stream = Callable[[AsyncIterator[Any], Any], AsyncIterator[Any]]


class Guarded:
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
                request = await _only(edge, context, servicer)
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
                request = await _only(edge, context, servicer)
                await _send(edge, context, servicer, servicer.unary_stream(request, context))
        except Exception as error:
            await abort(context, method, error)

    return handle


def _stream(edge: Edge, method: str, servicer: Servicer) -> Any:  # noqa: ANN401
    answer: Stream = servicer.stream_stream

    async def requests(messages: Messages, permit: Permit) -> AsyncIterator[Any]:
        first = True
        while (content := await messages.next()) is not None:
            if not first:
                permit.spend()
            first = False
            yield _decoded(servicer, content)

    async def handle(_: object, context: Context) -> None:
        try:
            with edge.call(method, context, stream=True) as permit, edge.messages(context, QUIET_SECONDS) as messages:
                await _send(edge, context, servicer, answer(requests(messages, permit), context))
        except Exception as error:
            await abort(context, method, error)

    return handle


async def _send(edge: Edge, context: Context, servicer: Servicer, responses: AsyncIterator[Any]) -> None:
    async with aclosing(responses):  # type: ignore[type-var]
        async for response in responses:
            await context.write(edge.sized(servicer.response_serializer(response)))


async def _only(edge: Edge, context: Context, servicer: Servicer) -> Any:  # noqa: ANN401 - any message
    """Read the single message of a call; ignore others."""
    with edge.messages(context, LAST_MESSAGE_SECONDS) as messages:
        content = await messages.only()
    return _decoded(servicer, content)


def _decoded(servicer: Servicer, content: bytes) -> Any:  # noqa: ANN401 - any message
    try:
        return servicer.request_deserializer(content)
    except DecodeError:
        raise InvalidRequest(_MALFORMED) from None
