"""Prometheus metrics of a server, in a registry of its own."""

from collections.abc import Callable, Iterable, Iterator

import grpc
from prometheus_client import CollectorRegistry, GCCollector, PlatformCollector, ProcessCollector
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from bertwire_server.call import Call
from bertwire_server.errors import Forbidden, Overloaded, RequestError, Unauthenticated
from bertwire_server.telemetry.instruments import Histogram
from bertwire_server.telemetry.model_metrics import SECONDS, ModelMetrics, Watched

# Why a call is refused before any model is asked; an overload there is of the client's own limits.
_REFUSALS: dict[type[RequestError], str] = {
    Unauthenticated: "identity",
    Forbidden: "scope",
    Overloaded: "limit",
}
# A client with the right to load may ask for any name; past so many they count as "".
_MAX_LOAD_NAMES = 1000


class Metrics(Collector):
    """Counts for a whole server. Every method belongs to the event loop but `collect`.

    Labels hold methods of ours, codes, and names of models that are loaded here: a client cannot make up new ones.

    Attributes:
        registry: what Prometheus is shown, with the metrics of the process and of Python.
        certificate_ends: asked when the server's certificate ends, in seconds since 1970; None without TLS.
    """

    def __init__(self) -> None:
        self._requests: dict[tuple[str, str, grpc.StatusCode], int] = {}
        self._seconds: dict[tuple[str, str], Histogram] = {}
        self._refused = dict.fromkeys(_REFUSALS.values(), 0)
        # Of one version two may be loaded for a moment, while it is loaded again: the newer is shown.
        self._models: dict[tuple[str, str], list[ModelMetrics]] = {}
        self._names: set[str] = set()
        self._loads: dict[tuple[str, str], int] = {}
        self.certificate_ends: Callable[[], float | None] = lambda: None
        self.registry = CollectorRegistry()
        self.registry.register(self)
        for make in (ProcessCollector, GCCollector, PlatformCollector):
            make(registry=self.registry)

    def call_ended(self, call: Call, code: grpc.StatusCode, seconds: float) -> None:
        """Counts a call or a message of a stream, and the time of one that was answered.

        Refusals are quick, and would flatter the others.
        """
        model = call.model if call.model in self._names else ""
        key = (model, call.method, code)
        self._requests[key] = self._requests.get(key, 0) + 1
        if code is grpc.StatusCode.OK:
            histogram = self._seconds.get(key[:2])
            if histogram is None:
                histogram = self._seconds[key[:2]] = Histogram(SECONDS)
            histogram.observe(seconds)

    def refused(self, error: Unauthenticated | Forbidden | Overloaded) -> None:
        """Counts a call that was refused before any model was asked, by what its client is told."""
        self._refused[_REFUSALS[type(error)]] += 1

    def loaded(self, metrics: ModelMetrics, model: Watched) -> None:
        """Shows what is counted of a model from now on.

        Args:
            metrics: what the model tells of its work.
            model: read when Prometheus asks.
        """
        metrics.watched = model
        self._models.setdefault((metrics.info.name, metrics.info.version), []).append(metrics)
        self._names.add(metrics.info.name)

    def unloaded(self, metrics: ModelMetrics) -> None:
        """Forgets what `loaded` was given, and the calls of a model of which no version is left."""
        name, version = metrics.info.name, metrics.info.version
        same = self._models[name, version]
        same.remove(metrics)
        if not same:
            del self._models[name, version]
        if any(key[0] == name for key in self._models):
            return
        self._names.discard(name)
        self._requests = {key: count for key, count in self._requests.items() if key[0] != name}
        self._seconds = {key: histogram for key, histogram in self._seconds.items() if key[0] != name}

    def load_ended(self, name: str, *, loaded: bool) -> None:
        """Counts an attempt to load a model of this name."""
        if name not in self._names and len(self._loads) >= _MAX_LOAD_NAMES:
            name = ""
        key = (name, "loaded" if loaded else "failed")
        self._loads[key] = self._loads.get(key, 0) + 1

    def collect(self) -> Iterator[Metric]:
        """Everything counted so far."""
        yield from self._calls()
        yield from self._server()
        # A slice: another thread may just have emptied it.
        shown = [newest for same in list(self._models.values()) for newest in same[-1:]]
        yield from _merged(family for model in shown for family in model.collect())

    def _calls(self) -> Iterator[Metric]:
        requests = CounterMetricFamily(
            "bertwire_requests", "Calls, and messages of streams, that ended.", labels=("model", "method", "code")
        )
        for (model, method, code), count in list(self._requests.items()):
            requests.add_metric([model, method, code.name], count)
        yield requests
        seconds = HistogramMetricFamily(
            "bertwire_request_seconds",
            "Time of the calls, and of the messages of streams, that ended with OK.",
            labels=("model", "method"),
        )
        for labels, histogram in list(self._seconds.items()):
            histogram.add_to(seconds, labels)
        yield seconds
        refused = CounterMetricFamily(
            "bertwire_refused_calls", "Calls refused before any model was asked.", labels=("reason",)
        )
        for reason, count in self._refused.items():
            refused.add_metric([reason], count)
        yield refused

    def _server(self) -> Iterator[Metric]:
        yield GaugeMetricFamily("bertwire_models_loaded", "Versions of models that are loaded.", len(self._models))
        loads = CounterMetricFamily("bertwire_model_loads", "Attempts to load a model.", labels=("model", "outcome"))
        for labels, count in list(self._loads.items()):
            loads.add_metric(labels, count)
        yield loads
        if (ends := self.certificate_ends()) is not None:
            yield GaugeMetricFamily(
                "bertwire_certificate_expiry_timestamp_seconds",
                "When the server's certificate ends, in seconds since 1970.",
                ends,
            )


def _merged(families: Iterable[Metric]) -> Iterable[Metric]:
    """Families of one name become one, as the exposition wants it."""
    merged: dict[str, Metric] = {}
    for family in families:
        if family.name in merged:
            merged[family.name].samples.extend(family.samples)
        else:
            merged[family.name] = family
    return merged.values()
