"""What stands between gRPC and every method of ours: malformed messages and failures become status codes here."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import grpc
import grpc.aio
from google.protobuf.message import DecodeError

from bertwire_server.errors import InvalidRequest, NotReady, RequestError

_log = logging.getLogger(__name__)
_OURS = "/bertwire."
_MALFORMED = "the message cannot be decoded; check that it is of this method's type and that its text is UTF-8"

Handler = Any  # grpc.RpcMethodHandler, whose fields the type stubs call optional though a handler of ours has them
Method = Callable[[Any, Any], Awaitable[Any]]


@dataclass(frozen=True, slots=True)
class _Malformed:
    """Stands for a message that could not be decoded.

    gRPC would answer INTERNAL where a deserializer raises, though the fault is the caller's.
    """


class Edge(grpc.aio.ServerInterceptor):
    """Wraps unary methods of the project's own services.

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

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[Handler | None]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> Handler | None:
        """Gives gRPC the method's handler, wrapped where it is one of ours."""
        handler = await continuation(handler_call_details)
        if handler is None or not handler_call_details.method.startswith(_OURS):
            return handler
        return grpc.unary_unary_rpc_method_handler(
            self._guarded(handler.unary_unary, handler_call_details.method),
            request_deserializer=_tolerant(handler.request_deserializer),
            response_serializer=handler.response_serializer,
        )

    def _guarded(self, method: Method, name: str) -> Method:
        async def call(request: Any, context: grpc.aio.ServicerContext[Any, Any]) -> Any:  # noqa: ANN401 - any message
            self.in_flight += 1
            self.idle.clear()
            self.arrived.set()
            try:
                if self.closing:
                    raise NotReady("the server is shutting down; send the request to another one")
                if isinstance(request, _Malformed):
                    raise InvalidRequest(_MALFORMED)
                return await method(request, context)
            except RequestError as error:
                await context.abort(error.code, str(error))
            except Exception:
                _log.exception("%s failed", name)
                await context.abort(grpc.StatusCode.INTERNAL, "internal error; the server's log has the cause")
            finally:
                self.in_flight -= 1
                if not self.in_flight:
                    self.idle.set()

        return call


def _tolerant(deserialize: Callable[[bytes], Any]) -> Callable[[bytes], Any]:
    def decode(content: bytes) -> Any:  # noqa: ANN401 - any message
        try:
            return deserialize(content)
        except DecodeError:
            return _Malformed()

    return decode
