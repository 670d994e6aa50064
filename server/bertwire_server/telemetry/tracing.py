"""OpenTelemetry traces over OTLP. Import it only where traces are on: the import alone takes a third of a second.

No attribute holds a text, or anything that a client chose freely.
"""

import os
from collections.abc import Iterable, Sequence
from threading import Thread
from time import time_ns
from typing import Any

import grpc
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import OTELResourceDetector, Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.trace.sampling import ParentBased, Sampler, TraceIdRatioBased
from opentelemetry.trace import Span, SpanKind, Status, StatusCode, Tracer, set_span_in_context
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from bertwire_server.call import Call
from bertwire_server.query import Prediction

# Errors of the server by the semantic conventions for RPC; the others are the client's.
_SERVER_ERRORS = {
    grpc.StatusCode.UNKNOWN,
    grpc.StatusCode.DEADLINE_EXCEEDED,
    grpc.StatusCode.UNIMPLEMENTED,
    grpc.StatusCode.INTERNAL,
    grpc.StatusCode.UNAVAILABLE,
    grpc.StatusCode.DATA_LOSS,
}
_CONTEXT = ("traceparent", "tracestate")
# Share of calls traced where nothing else decides. Halved, rare faults leave no trace; doubled, tracing costs twice.
_RATIO = 0.01
# Answers of a stream that get spans. Unbounded, a stream without end would fill the memory with spans; halved, less of
# it is seen.
_MAX_ANSWERS = 100
# Seconds for the last spans at shutdown. Halved, spans are lost where the collector is slow; doubled, a dead collector
# delays each exit.
_FLUSH_SECONDS = 2.0


class Trace:
    """Span of one call.

    Attributes:
        trace_id: 32 hexadecimal digits.
    """

    __slots__ = ("_answers", "_span", "_tracer", "trace_id")

    def __init__(self, tracer: Tracer, span: Span) -> None:
        self._tracer, self._span, self._answers = tracer, span, 0
        self.trace_id = format(span.get_span_context().trace_id, "032x")

    def answered(self, predictions: Sequence[Prediction]) -> None:
        """Add the spans tokenize, queue and run of texts that were answered just now, from their measured times.

        Of several texts, queue ends where the first is run, and run ends where the last has been.
        """
        if not self._span.is_recording() or not predictions or self._answers >= _MAX_ANSWERS:
            return
        self._answers += 1
        now = time_ns()
        arrived = now - _ns(max(each.queue_seconds + each.run_seconds for each in predictions))
        running = arrived + _ns(min(each.queue_seconds for each in predictions))
        self._stage("tokenize", arrived - _ns(predictions[0].tokenize_seconds), arrived)
        self._stage("queue", arrived, running)
        self._stage("run", running, now)

    def end(self, call: Call, code: grpc.StatusCode) -> None:
        """End the span with the status of the call."""
        span = self._span
        if not span.is_recording():
            return
        span.set_attribute("rpc.response.status_code", code.name)
        if call.model:
            span.set_attribute("bertwire.model", call.model)
            span.set_attribute("bertwire.model_version", call.model_version)
        span.set_attribute("bertwire.texts", call.texts)
        if code is not grpc.StatusCode.OK:
            span.set_attribute("error.type", code.name)
        if code in _SERVER_ERRORS:
            span.set_status(Status(StatusCode.ERROR))
        span.end()

    def _stage(self, name: str, start: int, end: int) -> None:
        context = set_span_in_context(self._span)
        self._tracer.start_span(name, context, SpanKind.INTERNAL, start_time=start).end(end)


class Tracing:
    """Begins traces, and exports them in batches from a thread of its own."""

    def __init__(self, endpoint: str | None, ratio: float | None, version: str) -> None:
        """Set up the exporter; it connects with the first batch.

        Args:
            endpoint: URL of the collector; None: as the OTEL_EXPORTER_OTLP_ variables say.
            ratio: share of calls traced where the caller has not decided; None: as OTEL_TRACES_SAMPLER says.
            version: of the server.
        """
        own = Resource.create({"service.name": "bertwire", "service.version": version})
        self._provider = TracerProvider(
            sampler=_sampler(ratio),
            resource=own.merge(OTELResourceDetector().detect()),  # the environment takes precedence
            shutdown_on_exit=False,
        )
        self._provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(endpoint)))
        self._tracer = self._provider.get_tracer("bertwire_server", version)
        self._propagator = TraceContextTextMapPropagator()

    def begin(self, method: str, metadata: Iterable[tuple[str, str | bytes]] | None) -> Trace:
        """Begin the span of a call.

        Args:
            method: the full name, as `/bertwire.v1.Classifier/Classify`.
            metadata: of the call; may hold the caller's `traceparent`.
        """
        carrier = {key: value for key, value in metadata or () if key in _CONTEXT and isinstance(value, str)}
        parent = self._propagator.extract(carrier) if carrier else None
        name = method.removeprefix("/")
        attributes: dict[str, Any] = {"rpc.system.name": "grpc", "rpc.method": name}
        return Trace(self._tracer, self._tracer.start_span(name, parent, SpanKind.SERVER, attributes))

    def close(self) -> None:
        """Export the remaining spans, for 2 seconds at most."""
        # The exporter's own timeouts add up to more than a drain may take; the thread ends with the process.
        thread = Thread(target=self._provider.shutdown, name="traces", daemon=True)
        thread.start()
        thread.join(_FLUSH_SECONDS)


def _sampler(ratio: float | None) -> Sampler | None:
    """Return the sampler; None where the SDK is to take it from the environment."""
    if ratio is None and os.environ.get("OTEL_TRACES_SAMPLER"):
        return None
    return ParentBased(TraceIdRatioBased(_RATIO if ratio is None else ratio))


def _ns(seconds: float) -> int:
    return round(seconds * 1e9)
