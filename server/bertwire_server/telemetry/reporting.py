"""Metrics, traces and the log of a server, and the report on every call."""

import asyncio
import logging
from importlib.metadata import version
from time import perf_counter
from types import TracebackType
from typing import TYPE_CHECKING
from wsgiref.simple_server import WSGIServer

import grpc
from prometheus_client import CollectorRegistry, start_http_server

from bertwire_core.errors import UserError
from bertwire_server.call import Call
from bertwire_server.errors import CLOCK_SECONDS, RequestError
from bertwire_server.listen import address
from bertwire_server.rpc import Context
from bertwire_server.telemetry.config import TelemetryConfig
from bertwire_server.telemetry.logs import log_call
from bertwire_server.telemetry.metrics import Metrics

if TYPE_CHECKING:
    from collections.abc import Iterable
    from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

    from bertwire_server.telemetry.tracing import Tracing

_log = logging.getLogger(__name__)


class Telemetry:
    """Metrics, traces and the log of calls.

    Attributes:
        metrics: of the server, whether or not they are served.
        tracing: None where traces are off.
        log_texts: whether the log of calls holds their texts.
        metrics_port: port at which metrics are served; None where they are not.
    """

    def __init__(self, config: TelemetryConfig) -> None:
        """Start to serve metrics where the configuration names a port.

        Raises:
            UserError: the address of the metrics cannot be bound.
        """
        self.metrics = Metrics()
        self.log_texts = config.log_texts
        self.tracing = _tracing(config) if config.traces else None
        self._server: WSGIServer | None = None
        self.metrics_port: int | None = None
        if config.metrics_port is not None:
            self._server = metrics_server(self.metrics.registry, config.metrics_host, config.metrics_port)
            self.metrics_port = self._server.server_port
            _log.info("metrics at http://%s/metrics", address(config.metrics_host, self.metrics_port))

    def of_call(self, call: Call, context: Context, *, stream: bool = False) -> "Report":
        """Return the report on a call, a context manager that everything that may fail belongs into.

        A stream counts only where it fails; its messages count by `Metrics.call_ended`.
        """
        return Report(self, call, context, stream)

    async def close(self) -> None:
        """Send the remaining traces, within 2 seconds, and stop serving metrics, within half a second."""
        if self.tracing is not None:
            await asyncio.to_thread(self.tracing.close)
        if self._server is not None:
            await asyncio.to_thread(self._server.shutdown)
            self._server.server_close()


class Report:
    """Measures one call, and reports how it ended."""

    __slots__ = ("_call", "_context", "_start", "_stream", "_to")

    def __init__(self, to: Telemetry, call: Call, context: Context, stream: bool) -> None:
        self._to, self._call, self._context, self._stream = to, call, context, stream

    def __enter__(self) -> None:
        self._start = perf_counter()
        if self._to.tracing is not None:
            self._call.trace = self._to.tracing.begin(self._call.method, self._context.invocation_metadata())

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        seconds = perf_counter() - self._start
        code = grpc.StatusCode.OK if error is None else _code(error, self._context)
        if not self._stream or error is not None:
            self._to.metrics.call_ended(self._call, code, seconds)
        if self._call.trace is not None:
            self._call.trace.end(self._call, code)
        # Other errors are told to the caller by their code alone.
        reason = str(error) if isinstance(error, RequestError) else ""
        with_texts, peer = self._to.log_texts, self._context.peer
        log_call(self._call, code, seconds, with_texts=with_texts, reason=reason, peer=peer)


def _code(error: BaseException, context: Context) -> grpc.StatusCode:
    """Return the status with which a call ends for an error."""
    if isinstance(error, RequestError):
        return error.code
    if isinstance(error, asyncio.CancelledError | GeneratorExit):
        # gRPC cancels the handler for a deadline as for a cancellation, and tells only the client which it was.
        left = context.time_remaining()
        late = left is not None and left <= CLOCK_SECONDS
        return grpc.StatusCode.DEADLINE_EXCEEDED if late else grpc.StatusCode.CANCELLED
    return grpc.StatusCode.INTERNAL


def metrics_server(registry: CollectorRegistry, host: str, port: int) -> WSGIServer:
    """Serve a registry over HTTP in a thread of its own; raise `UserError` where the address cannot be bound."""
    try:
        server, _ = start_http_server(port, host, registry)
        if (app := server.get_app()) is not None:
            server.set_app(_with_head(app))
    except OSError as error:
        reason = error.strerror or str(error)
        raise UserError(
            f"cannot serve metrics on {host}:{port}: {reason}; choose another --metrics-port or --metrics-host"
        ) from error
    return server


def _with_head(app: "WSGIApplication") -> "WSGIApplication":
    """Answer HEAD, which checks of availability send, as GET without its body; prometheus_client refuses it."""

    def answer(environ: "WSGIEnvironment", start_response: "StartResponse") -> "Iterable[bytes]":
        if environ["REQUEST_METHOD"] != "HEAD":
            return app(environ, start_response)
        app(environ | {"REQUEST_METHOD": "GET"}, start_response)
        return ()

    return answer


def _tracing(config: TelemetryConfig) -> "Tracing":
    from bertwire_server.telemetry.tracing import Tracing

    return Tracing(config.otlp_endpoint, config.trace_ratio, version("bertwire"))
