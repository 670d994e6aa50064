"""Traces as a collector gets them, and reports on the calls of a real gRPC server."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from operator import methodcaller
from typing import Any

import grpc
import grpc.aio
import numpy as np
import pytest
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from bertwire_runtime.output import Output
from bertwire_server.call import Call, current
from bertwire_server.errors import InvalidRequest
from bertwire_server.query import Prediction
from bertwire_server.rpc import Context
from bertwire_server.telemetry.config import TelemetryConfig
from bertwire_server.telemetry.reporting import Telemetry
from bertwire_server.telemetry.tracing import Tracing
from collector import Collector, collecting
from gated import listening

CLASSIFY = "/bertwire.v1.Classifier/Classify"
OK = grpc.StatusCode.OK
SAMPLED = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
NOT_SAMPLED = SAMPLED[:-2] + "00"


@pytest.fixture
def collector() -> Iterator[Collector]:
    """Run a collector."""
    with collecting() as made:
        yield made


def prediction(queued: float, ran: float) -> Prediction:
    """Return an answer that waited and ran so long."""
    empty = np.zeros(0, np.float32)
    return Prediction(Output(empty, empty, (), 3, truncated=False), queued, 0.001, ran)


def attributes(span: Span) -> dict[str, object]:
    """Return a span's attributes, whatever their kind."""
    return {each.key: getattr(each.value, str(each.value.WhichOneof("value"))) for each in span.attributes}


def test_spans_of_a_call(collector: Collector) -> None:
    """Continue a sampled trace with one server span, and spans of the measured stages in it."""
    tracing = Tracing(collector.address, 0.0, "1.2")
    call = Call(CLASSIFY, model="mood", model_version="3", texts=2, content=["SECRET"])
    trace = tracing.begin(CLASSIFY, [("user-agent", "SECRET"), ("traceparent", SAMPLED), ("x-bin", b"SECRET")])
    trace.answered([prediction(0.01, 0.02), prediction(0.03, 0.04)])
    trace.end(call, OK)
    tracing.close()
    request = collector.requests.get(timeout=60)
    assert b"SECRET" not in request.SerializeToString()
    resource = {each.key: each.value.string_value for each in request.resource_spans[0].resource.attributes}
    assert (resource["service.name"], resource["service.version"]) == ("bertwire", "1.2")
    collector.requests.put(request)
    spans = {span.name: span for span in collector.spans(4)}
    server = spans.pop("bertwire.v1.Classifier/Classify")
    assert server.kind == Span.SPAN_KIND_SERVER
    assert trace.trace_id == server.trace_id.hex() == SAMPLED[3:35]
    assert server.parent_span_id.hex() == SAMPLED[36:52]
    assert attributes(server) == {
        "rpc.system.name": "grpc",
        "rpc.method": "bertwire.v1.Classifier/Classify",
        "rpc.response.status_code": "OK",
        "bertwire.model": "mood",
        "bertwire.model_version": "3",
        "bertwire.texts": 2,
    }
    assert set(spans) == {"tokenize", "queue", "run"}
    assert {span.parent_span_id for span in spans.values()} == {server.span_id}
    seconds = {name: (each.end_time_unix_nano - each.start_time_unix_nano) / 1e9 for name, each in spans.items()}
    assert seconds == pytest.approx({"tokenize": 0.001, "queue": 0.01, "run": 0.06})
    assert spans["tokenize"].end_time_unix_nano == spans["queue"].start_time_unix_nano
    assert spans["queue"].end_time_unix_nano == spans["run"].start_time_unix_nano


@pytest.mark.parametrize(
    ("code", "failed"), [(grpc.StatusCode.INVALID_ARGUMENT, False), (grpc.StatusCode.INTERNAL, True)]
)
def test_span_of_a_failure(collector: Collector, code: grpc.StatusCode, failed: bool) -> None:
    """Set the failure's code, and an error only where the fault is the server's."""
    tracing = Tracing(collector.address, 1.0, "1.2")
    tracing.begin(CLASSIFY, None).end(Call(CLASSIFY), code)
    tracing.close()
    (span,) = collector.spans(1)
    found = attributes(span)
    assert found["rpc.response.status_code"] == found["error.type"] == code.name
    assert "bertwire.model" not in found
    assert (span.status.code == 2) is failed


def test_samples_as_told(collector: Collector, monkeypatch: pytest.MonkeyPatch) -> None:
    """Follow the caller's decision, else the ratio, else the environment's sampler."""
    for ratio, sampler, metadata, expected in (
        (0.0, "", (), 0),
        (1.0, "", (), 1),
        (1.0, "", (("traceparent", NOT_SAMPLED),), 0),
        (0.0, "always_on", (), 0),
        (None, "always_on", (), 1),
        (1.0, "", (("traceparent", "malformed"),), 1),
    ):
        monkeypatch.setenv("OTEL_TRACES_SAMPLER", sampler)
        tracing = Tracing(collector.address, ratio, "1.2")
        trace = tracing.begin(CLASSIFY, metadata)
        trace.answered([])
        trace.end(Call(CLASSIFY), OK)
        tracing.close()
        assert len(collector.spans(expected)) == expected, (ratio, sampler, metadata)


def test_environment_says_where(collector: Collector, monkeypatch: pytest.MonkeyPatch) -> None:
    """Take endpoint and service name from OTEL_ variables, which may also turn traces off."""
    assert not TelemetryConfig().traces
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collector.address)
    monkeypatch.setenv("OTEL_SERVICE_NAME", "reviews")
    assert TelemetryConfig().traces
    tracing = Tracing(None, 1.0, "1.2")
    tracing.begin(CLASSIFY, None).end(Call(CLASSIFY), OK)
    tracing.close()
    resource = collector.requests.get(timeout=60).resource_spans[0].resource
    assert ("service.name", "reviews") in {(each.key, each.value.string_value) for each in resource.attributes}
    monkeypatch.setenv("OTEL_SDK_DISABLED", "true")
    assert not TelemetryConfig(otlp_endpoint=collector.address).traces


def test_long_stream_has_bounded_spans(collector: Collector) -> None:
    """Make spans of the first hundred answers of a stream."""
    tracing = Tracing(collector.address, 1.0, "1.2")
    trace = tracing.begin(CLASSIFY, None)
    for _ in range(300):
        trace.answered([prediction(0.01, 0.02)])
    trace.end(Call(CLASSIFY), OK)
    tracing.close()
    assert len(collector.spans(301)) == 301


@pytest.mark.timeout(20)
def test_close_does_not_wait_for_a_dead_collector() -> None:
    """Close without the exporter's retries where no collector answers."""
    tracing = Tracing("http://127.0.0.1:1", 1.0, "1.2")
    tracing.begin(CLASSIFY, None).end(Call(CLASSIFY), OK)
    tracing.close()


async def _answer(request: bytes) -> bytes:
    """Answer, fail or wait as the request says."""
    if request == b"refuse":
        raise InvalidRequest("no")
    if request == b"break":
        raise RuntimeError("broken")
    if request == b"wait":
        await asyncio.Event().wait()
    call = current.get()
    if call.trace is not None:
        call.trace.answered([prediction(0.01, 0.02)])
    return request


@asynccontextmanager
async def serving(
    telemetry: Telemetry, *, stream: bool = False
) -> AsyncIterator[tuple[Any, asyncio.Event, asyncio.Event]]:
    """A gRPC server that reports on every call: how to call it, and whether a call has begun and has ended."""
    begun, ended = asyncio.Event(), asyncio.Event()

    async def handle(_: object, context: Context) -> bytes:
        call = Call("/s/m")
        current.set(call)
        begun.set()
        try:
            with telemetry.of_call(call, context, stream=stream):
                return await _answer(await context.read() or b"")
        finally:
            ended.set()

    handlers: Any = {"m": grpc.stream_unary_rpc_method_handler(handle)}
    add = methodcaller("add_generic_rpc_handlers", (grpc.method_handlers_generic_handler("s", handlers),))
    async with listening(add) as port, grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        yield channel.unary_unary("/s/m"), begun, ended


def counts(telemetry: Telemetry) -> dict[str, float]:
    """Return the number of calls that ended, by code."""
    samples = [sample for family in telemetry.metrics.registry.collect() for sample in family.samples]
    return {each.labels["code"]: each.value for each in samples if each.name == "bertwire_requests_total"}


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("request_", "seconds", "code"),
    [
        (b"answer", None, "OK"),
        (b"refuse", None, "INVALID_ARGUMENT"),
        (b"break", None, "INTERNAL"),
        (b"wait", 1.0, "DEADLINE_EXCEEDED"),
        (b"wait", None, "CANCELLED"),
    ],
)
async def test_every_end_of_a_call_is_counted(request_: bytes, seconds: float | None, code: str, stream: bool) -> None:
    """Count a call once, by its code; a stream only where it fails, since its messages are counted."""
    telemetry = Telemetry(TelemetryConfig())
    async with serving(telemetry, stream=stream) as (method, begun, ended):
        call = method(request_, timeout=seconds)
        if (request_, seconds) == (b"wait", None):
            await begun.wait()
            call.cancel()
        await asyncio.wait([asyncio.ensure_future(call)])
        await ended.wait()
    assert counts(telemetry) == ({} if stream and code == "OK" else {code: 1})
    await telemetry.close()
