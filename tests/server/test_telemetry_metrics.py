"""Metrics as Prometheus scrapes them."""

import asyncio
import socket
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass, replace

import grpc
import pytest
from prometheus_client import generate_latest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as open_families
from prometheus_client.parser import text_string_to_metric_families

from bertwire_core.errors import UserError
from bertwire_server.call import Call
from bertwire_server.errors import Overloaded, Unauthenticated
from bertwire_server.model.observer import Observer, Ran
from bertwire_server.telemetry.config import TelemetryConfig
from bertwire_server.telemetry.metrics import Metrics
from bertwire_server.telemetry.model_metrics import ModelInfo, ModelMetrics
from bertwire_server.telemetry.reporting import Telemetry

OK = grpc.StatusCode.OK
REFUSALS = ("identity", "scope", "limit")
CLASSIFY = "/bertwire.v1.Classifier/Classify"
VARIANT = {"variant": "int8", "precision": "int8", "provider": "cpu", "layout": "packed", "task": "single_label"}
INFO = ModelInfo("mood", "3", ("int8", "int8", "cpu", "packed", "single_label"), ("down", "up"), 100, True, False)
OF_MODEL = {"model": "mood", "version": "3"}


@dataclass
class State:
    """Stands for the model whose state is read."""

    waiting: int = 7
    busy_seconds: float = 2.5
    healthy: bool = True


@pytest.fixture
def metrics() -> Metrics:
    """Return metrics of a server without models."""
    return Metrics()


@pytest.fixture
def served() -> Iterator[tuple[Metrics, str]]:
    """Serve metrics; yield them and their address."""
    telemetry = Telemetry(TelemetryConfig(metrics_port=0))
    yield telemetry.metrics, f"http://127.0.0.1:{telemetry.metrics_port}/metrics"
    asyncio.run(telemetry.close())


def loaded(metrics: Metrics, info: ModelInfo = INFO, state: State | None = None) -> ModelMetrics:
    """Load a model; return its observer."""
    made = ModelMetrics(info)
    metrics.loaded(made, state or State())
    return made


def scrape(address: str, accept: str = "*/*") -> str:
    """Return what a server shows."""
    request = urllib.request.Request(address, headers={"Accept": accept})  # noqa: S310 - a local address
    with urllib.request.urlopen(request, timeout=60) as response:  # noqa: S310
        return str(response.read().decode())


def values(metrics: Metrics) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    """Return every sample by its name and labels, after asserting that no two share both."""
    text = generate_latest(metrics.registry).decode()
    samples = [each for family in text_string_to_metric_families(text) for each in family.samples]
    found = {(each.name, frozenset(each.labels.items())): each.value for each in samples}
    assert len(found) == len(samples)
    return found


def value(metrics: Metrics, name: str, **labels: str) -> float | None:
    """Return one sample; None where there is none."""
    return metrics.registry.get_sample_value(name, labels)


def test_shows_what_was_counted(metrics: Metrics) -> None:
    """Show each event of a model in the sample that is named for it, and the state at the time of the scrape."""
    state = State()
    model = loaded(metrics, state=state)
    observer: Observer = model
    observer.ran(Ran([3, 5], computed=10, queue_seconds=[0.001, 0.3], run_seconds=0.02))
    observer.ran(Ran([4], computed=4, queue_seconds=[20.0], run_seconds=0.02))
    observer.turned_away("deadline", 3)
    observer.expired(2)
    observer.cancelled(4)
    observer.tokenized(2, 0.0002)
    observer.predicted("up", 0.93)
    observer.abstained()
    observer.cached(5, 2)
    observer.cached(0, 1)
    found = values(metrics)
    expected: dict[tuple[str, tuple[tuple[str, str], ...]], float] = {
        ("bertwire_tokens_total", ()): 12,
        ("bertwire_computed_tokens_total", ()): 14,
        ("bertwire_batch_texts_sum", ()): 3,
        ("bertwire_batch_texts_count", ()): 2,
        ("bertwire_batch_tokens_bucket", (("le", "16.0"),)): 2,
        ("bertwire_batch_padding_ratio_bucket", (("le", "0.0"),)): 1,
        ("bertwire_batch_padding_ratio_bucket", (("le", "0.2"),)): 2,
        ("bertwire_queue_wait_seconds_bucket", (("le", "0.001"),)): 1,
        ("bertwire_queue_wait_seconds_bucket", (("le", "10.0"),)): 2,
        ("bertwire_queue_wait_seconds_bucket", (("le", "+Inf"),)): 3,
        ("bertwire_run_seconds_sum", ()): 0.04,
        ("bertwire_tokenize_seconds_count", ()): 1,
        ("bertwire_rejected_texts_total", (("reason", "deadline"),)): 3,
        ("bertwire_rejected_texts_total", (("reason", "queue_full"),)): 0,
        ("bertwire_expired_texts_total", ()): 2,
        ("bertwire_cancelled_texts_total", ()): 4,
        ("bertwire_cache_hits_total", ()): 5,
        ("bertwire_cache_misses_total", ()): 3,
        ("bertwire_abstained_texts_total", ()): 1,
        ("bertwire_predictions_total", (("label", "up"),)): 1,
        ("bertwire_predictions_total", (("label", "down"),)): 0,
        ("bertwire_prediction_confidence_bucket", (("le", "0.9"),)): 0,
        ("bertwire_prediction_confidence_bucket", (("le", "0.95"),)): 1,
        ("bertwire_queue_texts", ()): 7,
        ("bertwire_queue_capacity_texts", ()): 100,
        ("bertwire_busy_seconds_total", ()): 2.5,
        ("bertwire_model_healthy", ()): 1,
    }
    for (name, labels), count in expected.items():
        assert found[name, frozenset([*OF_MODEL.items(), *labels])] == pytest.approx(count), (name, labels)
    assert found["bertwire_model_info", frozenset((OF_MODEL | VARIANT).items())] == 1
    state.waiting, state.busy_seconds, state.healthy = 9, 3.5, False
    gauges = ("bertwire_queue_texts", "bertwire_busy_seconds_total", "bertwire_model_healthy")
    assert [value(metrics, name, **OF_MODEL) for name in gauges] == [9, 3.5, 0]
    assert ("process_resident_memory_bytes", frozenset()) in found
    assert ("python_gc_collections_total", frozenset({("generation", "0")})) in found


def test_calls_by_model_method_and_code(metrics: Metrics) -> None:
    """Count every call by its code; time only answered ones."""
    loaded(metrics)
    call = Call(CLASSIFY, model="mood", client="ann")
    metrics.call_ended(call, OK, 0.004)
    metrics.call_ended(call, OK, 0.2)
    metrics.call_ended(call, grpc.StatusCode.RESOURCE_EXHAUSTED, 0.0001)
    labels = {"model": "mood", "method": CLASSIFY}
    assert value(metrics, "bertwire_requests_total", **labels, code="OK") == 2
    assert value(metrics, "bertwire_requests_total", **labels, code="RESOURCE_EXHAUSTED") == 1
    assert value(metrics, "bertwire_request_seconds_count", **labels) == 2
    assert value(metrics, "bertwire_request_seconds_bucket", **labels, le="0.005") == 1


def test_clients_make_no_labels(metrics: Metrics) -> None:
    """Add no series for unknown models, clients, request ids and labels but one for no model."""
    model = loaded(metrics)
    before = len(values(metrics))
    for number in range(1000):
        metrics.call_ended(Call(CLASSIFY, f"r{number}", f"c{number}", f"m{number}"), OK, 0.1)
        model.predicted(f"label{number}", 0.5)
    assert value(metrics, "bertwire_requests_total", model="", method=CLASSIFY, code="OK") == 1000
    assert len(values(metrics)) < before + 30


def test_unloaded_model_is_gone(metrics: Metrics) -> None:
    """Drop a version's series with it, and those of the model's calls with the last one, whose late events add none."""
    old, new = loaded(metrics), loaded(metrics, replace(INFO, version="4"))
    loaded(metrics, replace(INFO, name="other"))
    metrics.call_ended(Call(CLASSIFY, model="mood"), OK, 0.1)
    metrics.call_ended(Call(CLASSIFY, model="other"), OK, 0.1)
    assert value(metrics, "bertwire_models_loaded") == 3
    metrics.unloaded(old)
    assert value(metrics, "bertwire_tokens_total", **OF_MODEL) is None
    assert value(metrics, "bertwire_tokens_total", model="mood", version="4") == 0
    assert value(metrics, "bertwire_requests_total", model="mood", method=CLASSIFY, code="OK") == 1
    metrics.unloaded(new)
    new.tokenized(1, 0.1)
    new.predicted("up", 0.9)
    metrics.call_ended(Call(CLASSIFY, model="mood"), OK, 0.1)
    assert "mood" not in generate_latest(metrics.registry).decode()
    assert value(metrics, "bertwire_requests_total", model="other", method=CLASSIFY, code="OK") == 1
    assert value(metrics, "bertwire_models_loaded") == 1


@pytest.mark.parametrize("gone", [0, 1])
def test_same_version_loaded_again(metrics: Metrics, gone: int) -> None:
    """Go on in the same series while a version is loaded twice; show the newer, then the other."""
    states = [State(waiting=1, busy_seconds=10), State(waiting=2, busy_seconds=20)]
    infos = [INFO, replace(INFO, variant=("fp32", *INFO.variant[1:]))]
    models = [loaded(metrics, info, state) for info, state in zip(infos, states, strict=True)]
    for model in models:
        model.expired(3)
    assert value(metrics, "bertwire_models_loaded") == 1
    assert value(metrics, "bertwire_queue_texts", **OF_MODEL) == 2
    metrics.unloaded(models[gone])
    models[gone].expired(1)
    assert value(metrics, "bertwire_expired_texts_total", **OF_MODEL) == 7
    assert value(metrics, "bertwire_queue_texts", **OF_MODEL) == 2 - gone
    assert value(metrics, "bertwire_busy_seconds_total", **OF_MODEL) == 10 * (2 - gone)
    shown = [
        value(metrics, "bertwire_model_info", **OF_MODEL, **VARIANT | {"variant": name}) for name in ("int8", "fp32")
    ]
    assert shown == ([None, 1] if gone == 0 else [1, None])
    metrics.unloaded(models[1 - gone])
    assert value(metrics, "bertwire_models_loaded") == 0


def test_server_counts(metrics: Metrics) -> None:
    """Count refusals by reason and loads by outcome; show the certificate's end once it is known."""
    assert value(metrics, "bertwire_certificate_expiry_timestamp_seconds") is None
    metrics.refused(Overloaded("slow down"))
    metrics.refused(Unauthenticated("who are you?"))
    metrics.refused(Unauthenticated("who are you?"))
    metrics.load_ended("mood", loaded=True)
    metrics.load_ended("mood", loaded=False)
    metrics.show_certificate(lambda: 1.9e9)
    refused = {reason: value(metrics, "bertwire_refused_calls_total", reason=reason) for reason in REFUSALS}
    assert refused == {"identity": 2, "scope": 0, "limit": 1}
    assert value(metrics, "bertwire_model_loads_total", model="mood", outcome="loaded") == 1
    assert value(metrics, "bertwire_model_loads_total", model="mood", outcome="failed") == 1
    assert value(metrics, "bertwire_certificate_expiry_timestamp_seconds") == 1.9e9


def test_speaks_openmetrics(served: tuple[Metrics, str]) -> None:
    """Serve OpenMetrics on request, with every counter of that type."""
    metrics, address = served
    for version in ("3", "4"):
        loaded(metrics, replace(INFO, version=version)).ran(Ran([3], 3, [0.1], 0.1))
    metrics.call_ended(Call(CLASSIFY, model="mood"), OK, 0.1)
    text = scrape(address, "application/openmetrics-text; version=1.0.0")
    assert text.endswith("# EOF\n")
    types = {family.name: family.type for family in open_families(text)}  # type: ignore[no-untyped-call]
    assert types["bertwire_busy_seconds"] == types["bertwire_requests"] == "counter"


def test_serves_prometheus(served: tuple[Metrics, str]) -> None:
    """Serve the text format, with an event at once; answer HEAD with the headers alone."""
    metrics, address = served
    metrics.refused(Overloaded("slow down"))
    assert 'bertwire_refused_calls_total{reason="limit"} 1.0\n' in scrape(address)
    with urllib.request.urlopen(urllib.request.Request(address, method="HEAD"), timeout=60) as response:  # noqa: S310
        assert (response.status, response.read()) == (200, b"")
        assert response.headers["Content-Type"].startswith("text/plain")


@pytest.mark.parametrize("host", ["127.0.0.1", "nowhere.invalid"])
def test_address_that_cannot_be_bound_is_named(host: str) -> None:
    """Raise UserError, with the option's name, for a port in use and an unknown host."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(
            UserError, match=f"^cannot serve metrics on {host}:{port}: .*; choose another --metrics-port"
        ):
            Telemetry(TelemetryConfig(metrics_host=host, metrics_port=port))


async def test_closed_server_frees_its_port() -> None:
    """Release the port at close."""
    telemetry = Telemetry(TelemetryConfig(metrics_port=0))
    await telemetry.close()
    again = Telemetry(TelemetryConfig(metrics_port=telemetry.metrics_port))
    assert again.metrics_port == telemetry.metrics_port
    await again.close()
