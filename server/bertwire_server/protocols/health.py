"""The `grpc.health.v1.Health` service.

Replaces grpcio-health-checking, where the end of one watch ends all others of the same name, a slow reader blocks
status changes, and a name cannot be removed.
"""

import asyncio
from collections.abc import AsyncGenerator, Mapping

from bertwire.health import health_pb2
from bertwire.health.health_pb2_grpc import HealthServicer
from bertwire_server.errors import ModelNotFound
from bertwire_server.rpc import Context

_SERVING = health_pb2.HealthCheckResponse.SERVING
_NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING
_UNKNOWN = health_pb2.HealthCheckResponse.SERVICE_UNKNOWN


class Health(HealthServicer):
    """Serving status by name. All methods belong to one event loop."""

    def __init__(self) -> None:
        self._serving: Mapping[str, bool] = {}
        self._closed = False
        self._changed = asyncio.Event()

    def publish(self, serving: Mapping[str, bool]) -> None:
        """Replace all names and their statuses."""
        self._serving = dict(serving)
        self._wake()

    def close(self) -> None:
        """Report NOT_SERVING for every name from now on, whatever is published."""
        self._closed = True
        self._wake()

    def is_closed(self) -> bool:
        """Whether `close` was called."""
        return self._closed

    def _wake(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()

    def _status(self, name: str) -> health_pb2.HealthCheckResponse.ServingStatus:
        if name not in self._serving:
            return _UNKNOWN
        return _SERVING if self._serving[name] and not self._closed else _NOT_SERVING

    async def Check(  # noqa: N802 - the protocol's name
        self,
        request: health_pb2.HealthCheckRequest,
        context: Context,  # noqa: ARG002
    ) -> health_pb2.HealthCheckResponse:
        """Return the status of a name; NOT_FOUND for an unknown one."""
        status = self._status(request.service)
        if status == _UNKNOWN:
            raise ModelNotFound("the server has no such service or model")
        return health_pb2.HealthCheckResponse(status=status)

    async def List(  # noqa: N802
        self,
        request: health_pb2.HealthListRequest,  # noqa: ARG002
        context: Context,  # noqa: ARG002
    ) -> health_pb2.HealthListResponse:
        """Return the status of every name."""
        statuses = {name: health_pb2.HealthCheckResponse(status=self._status(name)) for name in self._serving}
        return health_pb2.HealthListResponse(statuses=statuses)

    async def Watch(  # noqa: N802
        self,
        request: health_pb2.HealthCheckRequest,
        context: Context,  # noqa: ARG002
    ) -> AsyncGenerator[health_pb2.HealthCheckResponse, None]:
        """Yield the status of a name now and at every change; SERVICE_UNKNOWN for an unknown name."""
        told: health_pb2.HealthCheckResponse.ServingStatus | None = None
        while True:
            # Taken before the status is read, so that a change during the write is not missed.
            changed = self._changed
            status = self._status(request.service)
            if status != told:
                told = status
                yield health_pb2.HealthCheckResponse(status=status)
            await changed.wait()
