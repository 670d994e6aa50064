"""What is counted of one version of one model."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric

from bertwire_server.model.observer import Ran, Reason
from bertwire_server.telemetry.instruments import Histogram

# From 1 ms to 10 s, three a decade and closer where answers should be.
SECONDS = (0.001, 0.0025, 0.005, 0.0075, 0.01, 0.015, 0.025, 0.05, 0.075, 0.1, 0.15, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
# Tokenizing takes microseconds.
_TOKENIZE_SECONDS = (0.0001, 0.00025, 0.0005, *SECONDS)
_TEXTS = (1, 2, 4, 8, 16, 32, 64, 128, 256)
_TOKENS = (16, 32, 64, 128, 256, 512, 1024, 2048, 4096, 8192, 16384)
_SHARES = (0.0, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
_SCORES = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99, 1.0)
_BY_MODEL = ("model", "version")


class Watched(Protocol):
    """What is read from a model when Prometheus asks, in a thread of its own."""

    @property
    def waiting(self) -> int:
        """Texts in the queue."""

    @property
    def busy_seconds(self) -> float:
        """Time that the engine has run so far, the run under way included; never goes back."""

    @property
    def healthy(self) -> bool:
        """Whether texts that come in now are answered."""


@dataclass(frozen=True, slots=True)
class ModelInfo:
    """What is known of a loaded model.

    Attributes:
        name: its name.
        version: its version.
        variant: the variant that runs.
        precision: of the variant.
        provider: where it runs.
        layout: of the variant.
        task: what the model does.
        labels: its labels; predictions are counted for these alone.
        queue_texts: most texts that may wait for it.
        proven: whether the variant gave here the logits that the bundle has of it.
        fallback: whether a better variant did not, so that this one runs.
    """

    name: str
    version: str
    variant: str
    precision: str
    provider: str
    layout: str
    task: str
    labels: tuple[str, ...]
    queue_texts: int
    proven: bool
    fallback: bool


class ModelMetrics:
    """Counts for one version of one model; an `Observer`. Every method belongs to the event loop but `collect`.

    Attributes:
        info: what is known of the model.
        watched: whose state the gauges show.
    """

    def __init__(self, info: ModelInfo) -> None:
        self.info = info
        self._queue_wait, self._run = Histogram(SECONDS), Histogram(SECONDS)
        self._tokenize = Histogram(_TOKENIZE_SECONDS)
        self._batch_texts, self._batch_tokens = Histogram(_TEXTS), Histogram(_TOKENS)
        self._padding, self._confidence = Histogram(_SHARES), Histogram(_SCORES)
        self._tokens = self._computed = self._expired = self._cancelled = self._hits = self._misses = 0
        self._rejected: dict[Reason, int] = {"queue_full": 0, "deadline": 0}
        self._labels = dict.fromkeys(info.labels, 0)
        self.watched: Watched | None = None

    def ran(self, batch: Ran) -> None:
        """Counts a batch that has run."""
        tokens = sum(batch.lengths)
        self._tokens += tokens
        self._computed += batch.computed
        self._batch_texts.observe(len(batch.lengths))
        self._batch_tokens.observe(batch.computed)
        self._padding.observe(1 - tokens / batch.computed)
        self._run.observe(batch.run_seconds)
        self._queue_wait.observe_all(batch.queue_seconds)

    def turned_away(self, reason: Reason, texts: int) -> None:
        """Counts texts that were refused on arrival."""
        self._rejected[reason] += texts

    def expired(self, texts: int) -> None:
        """Counts texts whose deadline passed while they waited."""
        self._expired += texts

    def cancelled(self, texts: int) -> None:
        """Counts texts whose callers went while they waited."""
        self._cancelled += texts

    def tokenized(self, texts: int, seconds: float) -> None:  # noqa: ARG002 - an Observer is told the texts too
        """Counts the tokenizing of one call's texts."""
        self._tokenize.observe(seconds)

    def cached(self, hits: int, misses: int) -> None:
        """Counts texts that were looked for among kept answers."""
        self._hits += hits
        self._misses += misses

    def predicted(self, label: str, confidence: float) -> None:
        """Counts a label that was given; of one that is not the model's own only the score."""
        self._confidence.observe(confidence)
        if label in self._labels:
            self._labels[label] += 1

    def collect(self) -> Iterator[Metric]:
        """Everything counted so far, in families of this model alone."""
        model = [self.info.name, self.info.version]
        yield from self._histograms(model)
        yield from self._counters(model)
        yield from self._gauges(model)

    def _histograms(self, model: list[str]) -> Iterator[Metric]:
        for name, text, instrument in (
            ("bertwire_queue_wait_seconds", "Wait of a text from arrival to the start of its batch.", self._queue_wait),
            ("bertwire_tokenize_seconds", "Tokenizing of the texts of one call.", self._tokenize),
            ("bertwire_run_seconds", "Run of one batch.", self._run),
            ("bertwire_batch_texts", "Texts of one batch.", self._batch_texts),
            ("bertwire_batch_tokens", "Tokens that one batch computed, padding included.", self._batch_tokens),
            ("bertwire_batch_padding_ratio", "Share of a batch's computed tokens that was padding.", self._padding),
            ("bertwire_prediction_confidence", "Score of the labels given, 0 to 1.", self._confidence),
        ):
            family = HistogramMetricFamily(name, text, labels=_BY_MODEL)
            instrument.add_to(family, model)
            yield family

    def _counters(self, model: list[str]) -> Iterator[Metric]:
        busy = self.watched.busy_seconds if self.watched else 0.0
        for name, text, value in (
            ("bertwire_tokens", "Tokens of the texts that were run, without padding.", self._tokens),
            ("bertwire_computed_tokens", "Tokens computed, padding included.", self._computed),
            ("bertwire_expired_texts", "Texts whose deadline passed in the queue; never computed.", self._expired),
            ("bertwire_cancelled_texts", "Texts whose caller went while they waited; never computed.", self._cancelled),
            ("bertwire_cache_hits", "Texts answered from memory.", self._hits),
            ("bertwire_cache_misses", "Texts looked for in memory and run.", self._misses),
            ("bertwire_busy_seconds", "Time the engine has run, the run under way included.", busy),
        ):
            counter = CounterMetricFamily(name, text, labels=_BY_MODEL)
            counter.add_metric(model, value)
            yield counter
        rejected = CounterMetricFamily(
            "bertwire_rejected_texts", "Texts refused on arrival.", labels=(*_BY_MODEL, "reason")
        )
        for reason, texts in self._rejected.items():
            rejected.add_metric([*model, reason], texts)
        yield rejected
        given = CounterMetricFamily("bertwire_predictions", "Labels given.", labels=(*_BY_MODEL, "label"))
        for label, count in self._labels.items():
            given.add_metric([*model, label], count)
        yield given

    def _gauges(self, model: list[str]) -> Iterator[Metric]:
        watched = self.watched
        for name, text, value in (
            ("bertwire_queue_texts", "Texts that wait.", watched.waiting if watched else 0),
            ("bertwire_queue_capacity_texts", "Most texts that may wait.", self.info.queue_texts),
            ("bertwire_model_healthy", "1 while texts that come in are answered.", bool(watched and watched.healthy)),
            ("bertwire_model_proven", "1 where the variant computes here what was proven.", self.info.proven),
            (
                "bertwire_model_fallback",
                "1 where a better variant does not.",
                self.info.fallback,
            ),
        ):
            gauge = GaugeMetricFamily(name, text, labels=_BY_MODEL)
            gauge.add_metric(model, value)
            yield gauge
        of_variant = ("variant", "precision", "provider", "layout", "task")
        about = GaugeMetricFamily("bertwire_model_info", "1; the labels say it.", labels=(*_BY_MODEL, *of_variant))
        about.add_metric([*model, *(getattr(self.info, name) for name in of_variant)], 1)
        yield about
