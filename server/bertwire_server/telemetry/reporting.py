"""What a server shows of itself, and the report on every call."""

import asyncio
import logging
from importlib.metadata import version
from time import perf_counter
from types import TracebackType
from typing import TYPE_CHECKING

import grpc

from bertwire_server.call import Call
from bertwire_server.errors import CLOCK_SECONDS, RequestError
from bertwire_server.listen import address
from bertwire_server.rpc import Context
from bertwire_server.telemetry.config import TelemetryConfig
from bertwire_server.telemetry.http import MetricsServer
from bertwire_server.telemetry.logs import log_call
from bertwire_server.telemetry.metrics import Metrics

if TYPE_CHECKING:
    from bertwire_server.telemetry.tracing import Tracing

_log = logging.getLogger(__name__)


class Telemetry:
    """Metrics, traces and the log of calls, as the configuration wants them.

    Attributes:
        metrics: what is counted, whether or not it is served.
        tracing: None where traces are off.
        log_texts: whether the log of calls holds their texts.
        metrics_port: where metrics are served; None where they are not.
    """

    def __init__(self, config: TelemetryConfig) -> None:
        """Serves metrics from now on.

        Raises:
            UserError: the metrics' address cannot be had.
        """
        self.metrics = Metrics()
        self.log_texts = config.log_texts
        self.tracing = _tracing(config) if config.traces else None
        self._server = (
            MetricsServer(self.metrics.registry, config.metrics_host, config.metrics_port)
            if config.metrics_port is not None
            else None
        )
        self.metrics_port = self._server.port if self._server else None
        if self._server:
            _log.info("metrics at http://%s/metrics", address(config.metrics_host, self._server.port))

    def of_call(self, call: Call, context: Context, *, stream: bool = False) -> "Report":
        """Reports on a call: enter it before anything can fail, let what fails pass through it.

        A stream counts only where it fails: what counts are its messages, each by `Metrics.call_ended`.
        """
        return Report(self, call, context, stream)

    async def close(self) -> None:
        """Sends the traces that are left, within 2 seconds, and stops serving metrics."""
        if self.tracing is not None:
            await asyncio.to_thread(self.tracing.close)
        if self._server is not None:
            await asyncio.to_thread(self._server.close)


class Report:
    """What becomes of one call."""

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
        # What the caller is told of anything else is no more than the code says.
        reason = str(error) if isinstance(error, RequestError) else ""
        with_texts, peer = self._to.log_texts, self._context.peer
        log_call(self._call, code, seconds, with_texts=with_texts, reason=reason, peer=peer)


def _code(error: BaseException, context: Context) -> grpc.StatusCode:
    """The status that a call ends with for an error."""
    if isinstance(error, RequestError):
        return error.code
    if isinstance(error, asyncio.CancelledError | GeneratorExit):
        # gRPC cancels the handler for both, and tells the client which it was.
        left = context.time_remaining()
        late = left is not None and left <= CLOCK_SECONDS
        return grpc.StatusCode.DEADLINE_EXCEEDED if late else grpc.StatusCode.CANCELLED
    return grpc.StatusCode.INTERNAL


def _tracing(config: TelemetryConfig) -> "Tracing":
    from bertwire_server.telemetry.tracing import Tracing

    return Tracing(config.otlp_endpoint, config.trace_ratio, version("bertwire"))
