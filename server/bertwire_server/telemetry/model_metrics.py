"""Prometheus metrics of models, by name and version."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Protocol, get_args

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.metrics_core import CounterMetricFamily
from prometheus_client.registry import Collector

from bertwire_server.model.observer import Ran, Reason

# Seconds, from 1 ms to 10 s, closest where answers should be. With half of the bounds a quantile is off by a factor of
# two or more.
SECONDS = (0.001, 0.0025, 0.005, 0.0075, 0.01, 0.015, 0.025, 0.05, 0.075, 0.1, 0.15, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
_BY_MODEL = ("model", "version")
_OF_VARIANT = ("variant", "precision", "provider", "layout", "task")
_SHARES = (0.0, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
_SCORES = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99, 1.0)

# Names without the prefix bertwire_.
_HISTOGRAMS = {
    "queue_wait_seconds": ("Wait of a text from arrival to the start of its batch.", SECONDS),
    "tokenize_seconds": ("Tokenizing of the texts of one call.", (0.0001, 0.00025, 0.0005, *SECONDS)),
    "run_seconds": ("Run of one batch.", SECONDS),
    "batch_texts": ("Texts of one batch.", tuple(2**n for n in range(9))),
    "batch_tokens": ("Tokens that one batch computed, padding included.", tuple(2**n for n in range(4, 15))),
    "batch_padding_ratio": ("Share of a batch's computed tokens that was padding.", _SHARES),
    "prediction_confidence": ("Score of the labels given, 0 to 1.", _SCORES),
}
_COUNTERS = {
    "tokens": "Tokens of the texts that were run, without padding.",
    "computed_tokens": "Tokens computed, padding included.",
    "expired_texts": "Texts whose deadline passed in the queue; never computed.",
    "cancelled_texts": "Texts cancelled by their caller while they waited; never computed.",
    "abstained_texts": "Texts that look like none of the labels.",
    "cache_hits": "Texts answered from the cache.",
    "cache_misses": "Texts looked up in the cache and run.",
}
_GAUGES = {
    "queue_texts": "Texts that wait.",
    "queue_capacity_texts": "Most texts that may wait.",
    "model_healthy": "1 while texts that come in are answered.",
    "model_proven": "1 where the variant computes here what was proven.",
    "model_fallback": "1 where a better variant does not.",
}


class ModelState(Protocol):
    """State of a model that is read at each scrape, in another thread."""

    @property
    def waiting(self) -> int:
        """Return the number of texts in the queue."""

    @property
    def busy_seconds(self) -> float:
        """Return how long the engine has run so far, the run under way included; it never decreases."""

    @property
    def healthy(self) -> bool:
        """Return whether texts that come in now are answered."""


@dataclass(frozen=True, slots=True)
class ModelInfo:
    """Properties of a loaded model.

    Attributes:
        name, version: of the model; labels of all its series.
        variant: values of the labels variant, precision, provider, layout and task.
        labels: the model's labels; predictions are counted for these alone.
        rules: names of its rules.
        queue_texts: most texts that may wait for it.
        proven: whether the variant gave on this machine the logits that the bundle holds.
        fallback: whether a better variant did not, so that this one runs.
    """

    name: str
    version: str
    variant: tuple[str, str, str, str, str]
    labels: tuple[str, ...]
    queue_texts: int
    proven: bool
    fallback: bool
    rules: tuple[str, ...] = ()


class Families:
    """Metrics with the labels model and version, each shared by all models of a server."""

    def __init__(self, registry: CollectorRegistry) -> None:
        """Register them, without series."""
        counter, gauge = partial(Counter, registry=registry), partial(Gauge, registry=registry)
        self.histograms = {
            name: Histogram(f"bertwire_{name}", text, _BY_MODEL, registry=registry, buckets=buckets)
            for name, (text, buckets) in _HISTOGRAMS.items()
        }
        self.counters = {name: counter(f"bertwire_{name}", text, _BY_MODEL) for name, text in _COUNTERS.items()}
        self.gauges = {name: gauge(f"bertwire_{name}", text, _BY_MODEL) for name, text in _GAUGES.items()}
        self.rejected = counter("bertwire_rejected_texts", "Texts refused on arrival.", (*_BY_MODEL, "reason"))
        self.predictions = counter("bertwire_predictions", "Labels given.", (*_BY_MODEL, "label"))
        self.rules = counter("bertwire_rule_matches", "Texts that a rule matched.", (*_BY_MODEL, "rule"))
        self.info = gauge("bertwire_model_info", "1; the labels name the variant.", (*_BY_MODEL, *_OF_VARIANT))

    def remove(self, name: str, version: str) -> None:
        """Remove all series of a version."""
        families = (*self.histograms.values(), *self.counters.values(), *self.gauges.values())
        for family in (*families, self.rejected, self.predictions, self.rules, self.info):
            family.remove_by_labels({"model": name, "version": version})


class ModelMetrics:
    """`Observer` of one model; needs `bind` before the model takes traffic.

    Attributes:
        key: the model's name and version.
    """

    def __init__(self, info: ModelInfo) -> None:
        self._info = info
        self.key = info.name, info.version

    def bind(self, families: Families, state: ModelState) -> None:
        """Create the series of the version where there are none yet, and let its gauges show `state`."""
        info, key = self._info, self.key
        self._histograms = {name: family.labels(*key) for name, family in families.histograms.items()}
        self._counters = {name: family.labels(*key) for name, family in families.counters.items()}
        self._rejected = {reason: families.rejected.labels(*key, reason) for reason in get_args(Reason)}
        self._labels = {label: families.predictions.labels(*key, label) for label in info.labels}
        self._rules = {rule: families.rules.labels(*key, rule) for rule in info.rules}
        gauges = {name: family.labels(*key) for name, family in families.gauges.items()}
        gauges["queue_texts"].set_function(lambda: state.waiting)
        gauges["model_healthy"].set_function(lambda: state.healthy)
        gauges["queue_capacity_texts"].set(info.queue_texts)
        gauges["model_proven"].set(info.proven)
        gauges["model_fallback"].set(info.fallback)
        families.info.remove_by_labels({"model": info.name, "version": info.version})
        families.info.labels(*key, *info.variant).set(1)

    def ran(self, batch: Ran) -> None:
        """Count a batch that has run."""
        tokens, histograms = sum(batch.lengths), self._histograms
        self._counters["tokens"].inc(tokens)
        self._counters["computed_tokens"].inc(batch.computed)
        histograms["batch_texts"].observe(len(batch.lengths))
        histograms["batch_tokens"].observe(batch.computed)
        histograms["batch_padding_ratio"].observe(1 - tokens / batch.computed)
        histograms["run_seconds"].observe(batch.run_seconds)
        for seconds in batch.queue_seconds:
            histograms["queue_wait_seconds"].observe(seconds)

    def turned_away(self, reason: Reason, texts: int) -> None:
        """Count texts that were refused on arrival."""
        self._rejected[reason].inc(texts)

    def expired(self, texts: int) -> None:
        """Count texts whose deadline passed while they waited."""
        self._counters["expired_texts"].inc(texts)

    def cancelled(self, texts: int) -> None:
        """Count texts that were cancelled while they waited."""
        self._counters["cancelled_texts"].inc(texts)

    def tokenized(self, texts: int, seconds: float) -> None:  # noqa: ARG002 - part of the protocol
        """Count the tokenizing of one call's texts."""
        self._histograms["tokenize_seconds"].observe(seconds)

    def cached(self, hits: int, misses: int) -> None:
        """Count texts that were looked up in the cache."""
        self._counters["cache_hits"].inc(hits)
        self._counters["cache_misses"].inc(misses)

    def predicted(self, label: str, confidence: float) -> None:
        """Count a label that was given; of one that is not the model's own only the score."""
        self._histograms["prediction_confidence"].observe(confidence)
        if (series := self._labels.get(label)) is not None:
            series.inc()

    def matched(self, rule: str) -> None:
        """Count a text that a rule matched."""
        self._rules[rule].inc()

    def abstained(self) -> None:
        """Count a text that looks like none of the labels."""
        self._counters["abstained_texts"].inc()


class BusySeconds(Collector):
    """Counter of the engines' time, read at each scrape: `Counter` has no `set_function`."""

    def __init__(self, models: Mapping[ModelMetrics, ModelState]) -> None:
        self._models = models

    def collect(self) -> Iterator[CounterMetricFamily]:
        """Read every model; of two of one version the last."""
        text = "Time the engine has run, the run under way included."
        family = CounterMetricFamily("bertwire_busy_seconds", text, labels=_BY_MODEL)
        for key, state in {metrics.key: state for metrics, state in list(self._models.items())}.items():
            family.add_metric(key, state.busy_seconds)
        yield family
