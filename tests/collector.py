"""A collector of OpenTelemetry traces."""

import queue
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import grpc
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from opentelemetry.proto.collector.trace.v1.trace_service_pb2_grpc import (
    TraceServiceServicer,
    add_TraceServiceServicer_to_server,
)
from opentelemetry.proto.trace.v1.trace_pb2 import Span


class Collector(TraceServiceServicer):
    """Keeps what it is sent.

    Attributes:
        address: the URL of its endpoint.
        requests: what has come and was not taken yet.
    """

    def __init__(self) -> None:
        self.requests: queue.SimpleQueue[ExportTraceServiceRequest] = queue.SimpleQueue()
        self.address = ""

    def Export(self, request: ExportTraceServiceRequest, context: object) -> ExportTraceServiceResponse:  # noqa: ARG002, N802
        """Take spans."""
        self.requests.put(request)
        return ExportTraceServiceResponse()

    def spans(self, count: int) -> list[Span]:
        """Return all spans that have come, `count` of which it waits for."""
        found: list[Span] = []
        while len(found) < count or not self.requests.empty():
            for resource in self.requests.get(timeout=60).resource_spans:
                found += [span for scope in resource.scope_spans for span in scope.spans]
        return found


@contextmanager
def collecting() -> Iterator[Collector]:
    """Run a collector on a free port."""
    server, made = grpc.server(ThreadPoolExecutor(2)), Collector()
    add_TraceServiceServicer_to_server(made, server)  # type: ignore[no-untyped-call]
    made.address = f"http://127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
    server.start()
    try:
        yield made
    finally:
        server.stop(None).wait()
