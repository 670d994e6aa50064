"""What tests of files about metrics share: the metrics that a server exposes."""

import grpc
import pytest
from prometheus_client import generate_latest
from prometheus_client.parser import text_string_to_metric_families

from bertwire_server.call import Call
from bertwire_server.model.observer import Ran
from bertwire_server.telemetry.metrics import Metrics
from bertwire_server.telemetry.model_metrics import ModelInfo, ModelMetrics


class Model:
    """Stands for a model whose state is read."""

    waiting, busy_seconds, healthy = 0, 0.0, True


@pytest.fixture(scope="session")
def exposed() -> dict[str, set[str]]:
    """The labels of each sample that a server with a model shows after a call."""
    metrics = Metrics()
    variant = ("int8", "int8", "cpu", "packed", "single_label")
    model = ModelMetrics(ModelInfo("mood", "3", variant, ("up",), 100, True, False, ("refund",)))
    metrics.loaded(model, Model())
    model.ran(Ran([3], 3, [0.1], 0.1))
    metrics.call_ended(Call("/s/m", model="mood"), grpc.StatusCode.OK, 0.1)
    metrics.load_ended("mood", loaded=True)
    metrics.show_certificate(lambda: 1.9e9)
    found: dict[str, set[str]] = {}
    for family in text_string_to_metric_families(generate_latest(metrics.registry).decode()):
        for sample in family.samples:
            found.setdefault(sample.name, set()).update(sample.labels)
    return found
