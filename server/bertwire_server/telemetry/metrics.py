"""Prometheus metrics of a server, in a registry of its own."""

from collections import Counter as Counted
from collections.abc import Callable
from functools import partial

import grpc
from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    GCCollector,
    Histogram,
    PlatformCollector,
    ProcessCollector,
    disable_created_metrics,
)

from bertwire_server.call import Call
from bertwire_server.errors import Forbidden, Overloaded, RequestError, Unauthenticated
from bertwire_server.telemetry.model_metrics import SECONDS, BusySeconds, Families, ModelMetrics, ModelState

# Reasons for which a call is refused before its model is known; an overload there is of the client's own limits.
_REFUSALS: dict[type[RequestError], str] = {
    Unauthenticated: "identity",
    Forbidden: "scope",
    Overloaded: "limit",
}


class Metrics:
    """Metrics of a whole server. Every method belongs to the event loop.

    Labels hold the server's own methods, codes, and names of models that are loaded here: a client cannot add any.

    Attributes:
        registry: what Prometheus scrapes, with the metrics of the process and of Python.
    """

    def __init__(self) -> None:
        # They would add a series for each counter and histogram, which no alert and no panel reads.
        disable_created_metrics()  # type: ignore[no-untyped-call]
        self.registry = registry = CollectorRegistry()
        for collector in (ProcessCollector, GCCollector, PlatformCollector):
            collector(registry=registry)
        counter = partial(Counter, registry=registry)
        ended = "Calls, and messages of streams, that ended."
        self._requests = counter("bertwire_requests", ended, ("model", "method", "code"))
        answered = "Time of the calls, and of the messages of streams, that ended with OK."
        by = ("model", "method")
        self._seconds = Histogram("bertwire_request_seconds", answered, by, registry=registry, buckets=SECONDS)
        self._refused = counter("bertwire_refused_calls", "Calls refused before any model was asked.", ("reason",))
        for reason in _REFUSALS.values():
            self._refused.labels(reason)
        self._loads = counter("bertwire_model_loads", "Attempts to load a model.", ("model", "outcome"))
        # While a version is loaded again two models have its name; the last one is shown.
        self._models: dict[ModelMetrics, ModelState] = {}
        # Loaded models by name, of all versions: looked up at the end of each call.
        self._names = Counted[str]()
        self._families = Families(registry)
        registry.register(BusySeconds(self._models))
        loaded = Gauge("bertwire_models_loaded", "Versions of models that are loaded.", registry=registry)
        loaded.set_function(lambda: len({each.key for each in list(self._models)}))

    def show_certificate(self, ends: Callable[[], float]) -> None:
        """Add the expiry of the server's certificate.

        Args:
            ends: gives it at each scrape, in seconds since 1970.
        """
        text = "When the server's certificate ends, in seconds since 1970."
        Gauge("bertwire_certificate_expiry_timestamp_seconds", text, registry=self.registry).set_function(ends)

    def call_ended(self, call: Call, code: grpc.StatusCode, seconds: float) -> None:
        """Count a call or a message of a stream, and the time of one that was answered.

        Times of refusals are left out: they are short, and would lower the quantiles.
        """
        model = call.model if call.model in self._names else ""
        self._requests.labels(model, call.method, code.name).inc()
        if code is grpc.StatusCode.OK:
            self._seconds.labels(model, call.method).observe(seconds)

    def refused(self, error: Unauthenticated | Forbidden | Overloaded) -> None:
        """Count a call that was refused before its model was known."""
        self._refused.labels(_REFUSALS[type(error)]).inc()

    def loaded(self, metrics: ModelMetrics, state: ModelState) -> None:
        """Show the series of a model from now on.

        Args:
            metrics: the model's observer.
            state: read at each scrape.
        """
        metrics.bind(self._families, state)
        self._models[metrics] = state
        self._names[metrics.key[0]] += 1

    def unloaded(self, metrics: ModelMetrics) -> None:
        """Remove the series of a version that `loaded` added, and those of its model's calls with the last version."""
        del self._models[metrics]
        name, version = metrics.key
        same = [each for each in self._models if each.key == metrics.key]
        if same:
            same[-1].bind(self._families, self._models[same[-1]])
        else:
            self._families.remove(name, version)
        self._names -= Counted([name])
        if name not in self._names:
            self._requests.remove_by_labels({"model": name})
            self._seconds.remove_by_labels({"model": name})

    def load_ended(self, name: str, *, loaded: bool) -> None:
        """Count an attempt to load a model of the repository; a client cannot make up its name."""
        self._loads.labels(name, "loaded" if loaded else "failed").inc()
