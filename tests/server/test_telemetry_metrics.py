"""What Prometheus is shown, over HTTP, of what was counted."""

import socket
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass, replace

import grpc
import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as open_families
from prometheus_client.parser import text_string_to_metric_families

from bertwire_core.errors import UserError
from bertwire_server.call import Call
from bertwire_server.errors import Overloaded, Unauthenticated
from bertwire_server.model.observer import Observer, Ran
from bertwire_server.telemetry.http import MetricsServer
from bertwire_server.telemetry.instruments import Histogram
from bertwire_server.telemetry.metrics import Metrics
from bertwire_server.telemetry.model_metrics import ModelInfo, ModelMetrics

OK = grpc.StatusCode.OK
REFUSALS = ("identity", "scope", "limit")
CLASSIFY = "/bertwire.v1.Classifier/Classify"
INFO = ModelInfo("mood", "3", "int8", "int8", "cpu", "packed", "single_label", ("down", "up"), 100, True, False)
OF_MODEL = {"model": "mood", "version": "3"}


@dataclass
class Scheduler:
    """Stands for the scheduler whose state is read."""

    waiting: int = 7
    busy_seconds: float = 2.5
    healthy: bool = True


@pytest.fixture
def metrics() -> Metrics:
    """Metrics of a server without models."""
    return Metrics()


@pytest.fixture
def served(metrics: Metrics) -> Iterator[str]:
    """Where the metrics are served."""
    server = MetricsServer(metrics.registry, "127.0.0.1", 0)
    yield f"http://127.0.0.1:{server.port}"
    server.close()


def loaded(metrics: Metrics, info: ModelInfo = INFO, scheduler: Scheduler | None = None) -> ModelMetrics:
    """A model that is counted."""
    made = ModelMetrics(info)
    metrics.loaded(made, scheduler or Scheduler())
    return made


def scrape(address: str, accept: str = "*/*") -> str:
    """What the server shows."""
    request = urllib.request.Request(f"{address}/metrics", headers={"Accept": accept})  # noqa: S310 - a local address
    with urllib.request.urlopen(request, timeout=10) as response:  # noqa: S310
        return str(response.read().decode())


def values(address: str) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    """Every sample by its name and labels; no two may share both."""
    samples = [each for family in text_string_to_metric_families(scrape(address)) for each in family.samples]
    found = {(each.name, frozenset(each.labels.items())): each.value for each in samples}
    assert len(found) == len(samples)
    return found


def value(address: str, name: str, **labels: str) -> float | None:
    """One sample; None where there is none."""
    return values(address).get((name, frozenset(labels.items())))


def test_shows_what_was_counted(metrics: Metrics, served: str) -> None:
    """Each event of a model appears in the sample that is named for it."""
    model = loaded(metrics)
    observer: Observer = model
    observer.ran(Ran([3, 5], computed=10, queue_seconds=[0.001, 0.3], run_seconds=0.02))
    observer.ran(Ran([4], computed=4, queue_seconds=[20.0], run_seconds=0.02))
    observer.turned_away("deadline", 3)
    observer.expired(2)
    observer.cancelled(4)
    observer.tokenized(2, 0.0002)
    observer.predicted("up", 0.93)
    found = values(served)
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
    about = {"variant": "int8", "precision": "int8", "provider": "cpu", "layout": "packed", "task": "single_label"}
    assert found["bertwire_model_info", frozenset((OF_MODEL | about).items())] == 1
    assert ("process_resident_memory_bytes", frozenset()) in found
    assert ("python_gc_collections_total", frozenset({("generation", "0")})) in found


def test_scheduler_is_read_at_the_moment(metrics: Metrics, served: str) -> None:
    """Gauges show the state now, not that of the last batch."""
    scheduler = Scheduler()
    loaded(metrics, scheduler=scheduler)
    scheduler.waiting, scheduler.busy_seconds, scheduler.healthy = 9, 3.5, False
    assert value(served, "bertwire_queue_texts", **OF_MODEL) == 9
    assert value(served, "bertwire_busy_seconds_total", **OF_MODEL) == 3.5
    assert value(served, "bertwire_model_healthy", **OF_MODEL) == 0


def test_calls_by_model_method_and_code(metrics: Metrics, served: str) -> None:
    """Every call counts by its code; only answered ones enter the times."""
    loaded(metrics)
    call = Call(CLASSIFY, model="mood", client="ann")
    metrics.call_ended(call, OK, 0.004)
    metrics.call_ended(call, OK, 0.2)
    metrics.call_ended(call, grpc.StatusCode.RESOURCE_EXHAUSTED, 0.0001)
    labels = {"model": "mood", "method": CLASSIFY}
    assert value(served, "bertwire_requests_total", **labels, code="OK") == 2
    assert value(served, "bertwire_requests_total", **labels, code="RESOURCE_EXHAUSTED") == 1
    assert value(served, "bertwire_request_seconds_count", **labels) == 2
    assert value(served, "bertwire_request_seconds_bucket", **labels, le="0.005") == 1


def test_clients_make_no_labels(metrics: Metrics, served: str) -> None:
    """A thousand unknown models, clients, request ids and labels add no series but one for no model."""
    model = loaded(metrics)
    before = len(values(served))
    for number in range(1000):
        metrics.call_ended(Call(CLASSIFY, f"r{number}", f"c{number}", f"m{number}"), OK, 0.1)
        model.predicted(f"label{number}", 0.5)
    assert value(served, "bertwire_requests_total", model="", method=CLASSIFY, code="OK") == 1000
    assert len(values(served)) < before + 30
    for number in range(2000):
        metrics.load_ended(f"m{number}", loaded=False)
    assert value(served, "bertwire_model_loads_total", model="", outcome="failed") == 1000


def test_unloaded_model_is_gone(metrics: Metrics, served: str) -> None:
    """With a version its series go, with the last one those of the model's calls; others stay."""
    old, new = loaded(metrics), loaded(metrics, replace(INFO, version="4"))
    loaded(metrics, replace(INFO, name="other"))
    metrics.call_ended(Call(CLASSIFY, model="mood"), OK, 0.1)
    metrics.call_ended(Call(CLASSIFY, model="other"), OK, 0.1)
    assert value(served, "bertwire_models_loaded") == 3
    metrics.unloaded(old)
    assert value(served, "bertwire_tokens_total", **OF_MODEL) is None
    assert value(served, "bertwire_tokens_total", model="mood", version="4") == 0
    assert value(served, "bertwire_requests_total", model="mood", method=CLASSIFY, code="OK") == 1
    metrics.unloaded(new)
    assert "mood" not in scrape(served)
    assert value(served, "bertwire_requests_total", model="other", method=CLASSIFY, code="OK") == 1
    assert value(served, "bertwire_models_loaded") == 1


@pytest.mark.parametrize("gone", [0, 1])
def test_same_version_loaded_again(metrics: Metrics, served: str, gone: int) -> None:
    """While a version is loaded twice the newer is shown; whichever goes, the other is shown."""
    models = [loaded(metrics), loaded(metrics, replace(INFO, variant="fp32"))]
    for texts, model in enumerate(models, 1):
        model.expired(texts)
    assert value(served, "bertwire_expired_texts_total", **OF_MODEL) == 2
    metrics.unloaded(models.pop(gone))
    assert value(served, "bertwire_expired_texts_total", **OF_MODEL) == 2 - gone
    metrics.unloaded(models[0])
    assert value(served, "bertwire_models_loaded") == 0


def test_server_counts(metrics: Metrics, served: str) -> None:
    """Refusals by reason, loads by outcome, and the certificate's end once it is known."""
    assert value(served, "bertwire_certificate_expiry_timestamp_seconds") is None
    metrics.refused(Overloaded("slow down"))
    metrics.refused(Unauthenticated("who are you?"))
    metrics.refused(Unauthenticated("who are you?"))
    metrics.load_ended("mood", loaded=True)
    metrics.load_ended("mood", loaded=False)
    metrics.certificate_ends = lambda: 1.9e9
    refused = {reason: value(served, "bertwire_refused_calls_total", reason=reason) for reason in REFUSALS}
    assert refused == {"identity": 2, "scope": 0, "limit": 1}
    assert value(served, "bertwire_model_loads_total", model="mood", outcome="loaded") == 1
    assert value(served, "bertwire_model_loads_total", model="mood", outcome="failed") == 1
    assert value(served, "bertwire_certificate_expiry_timestamp_seconds") == 1.9e9


def test_speaks_openmetrics(metrics: Metrics, served: str) -> None:
    """A scraper that asks for OpenMetrics gets it, by the letter."""
    for version in ("3", "4"):
        loaded(metrics, replace(INFO, version=version)).ran(Ran([3], 3, [0.1], 0.1))
    metrics.call_ended(Call(CLASSIFY, model="mood"), OK, 0.1)
    text = scrape(served, "application/openmetrics-text; version=1.0.0")
    assert text.endswith("# EOF\n")
    assert "bertwire_busy_seconds" in {family.name for family in open_families(text)}  # type: ignore[no-untyped-call]


def test_bounds_belong_to_their_buckets() -> None:
    """A value on a bound is in its bucket, one above the last in +Inf, one by one as well as together."""
    one, together = Histogram((1, 2)), Histogram((1, 2))
    for each in (0.5, 1, 1.5, 2, 3):
        one.observe(each)
    together.observe_all((0.5, 1, 1.5, 2, 3))
    assert one._counts == together._counts == [2, 2, 1]
    assert one._sum == together._sum == 8


def test_head_has_headers_alone(served: str) -> None:
    """HEAD, by which monitors and proxies see whether the metrics are there, has the type of GET and no body."""
    address = f"{served}/metrics"
    with (
        urllib.request.urlopen(address, timeout=10) as get,  # noqa: S310
        urllib.request.urlopen(urllib.request.Request(address, method="HEAD"), timeout=10) as head,  # noqa: S310
    ):
        assert (head.status, head.headers["Content-Type"], head.read()) == (200, get.headers["Content-Type"], b"")


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_other_paths_are_not_found(served: str, method: str) -> None:
    """Nothing but the metrics is served."""
    with pytest.raises(urllib.error.HTTPError, match="404") as caught:
        urllib.request.urlopen(urllib.request.Request(f"{served}/", method=method), timeout=10)  # noqa: S310
    caught.value.close()


def test_taken_port_is_named(metrics: Metrics) -> None:
    """A port that is in use is a user's error of one line that names the option."""
    with (
        socket.create_server(("127.0.0.1", 0)) as taken,
        pytest.raises(UserError, match="Address already in use; choose another --metrics-port"),
    ):
        MetricsServer(metrics.registry, "127.0.0.1", taken.getsockname()[1])


def test_closed_server_frees_its_port(metrics: Metrics) -> None:
    """After close the port can be taken again."""
    server = MetricsServer(metrics.registry, "127.0.0.1", 0)
    server.close()
    again = MetricsServer(metrics.registry, "127.0.0.1", server.port)
    assert again.port == server.port
    again.close()
