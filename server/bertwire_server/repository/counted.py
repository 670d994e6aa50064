"""Joins each model with what is counted of it."""

from weakref import WeakKeyDictionary

from bertwire_runtime.bundle import Bundle
from bertwire_runtime.engine import Engine
from bertwire_server.model.given import labels_given
from bertwire_server.model.model import Model
from bertwire_server.model.queue import BatchLimits
from bertwire_server.telemetry.metrics import Metrics
from bertwire_server.telemetry.model_metrics import ModelInfo, ModelMetrics


class CountedModels:
    """Makes models that are counted, and shows the counts while they take traffic: a `FleetObserver`."""

    def __init__(self, metrics: Metrics, queue_texts: int) -> None:
        """Shows them in `metrics`; `queue_texts` is the room in each model's queue."""
        self._metrics, self._queue_texts = metrics, queue_texts
        # A model that is refused after it was made leaves nothing behind.
        self._counted: WeakKeyDictionary[Model, ModelMetrics] = WeakKeyDictionary()

    def build(self, bundle: Bundle, engine: Engine, limits: BatchLimits, hang_seconds: float) -> Model:
        """A model of a bundle; in any thread."""
        manifest, variant = bundle.manifest, engine.variant
        info = ModelInfo(
            name=manifest.name,
            version=manifest.version,
            variant=variant.name,
            precision=variant.precision,
            provider=engine.provider,
            layout=variant.layout,
            task=manifest.task,
            labels=labels_given(manifest),
            queue_texts=self._queue_texts,
            proven=engine.proven,
            fallback=bool(engine.passed_over),
        )
        counted = ModelMetrics(info)
        model = Model(bundle, engine, limits, hang_seconds, counted)
        self._counted[model] = counted
        return model

    def load_ended(self, name: str, *, loaded: bool) -> None:
        """A version of a model was loaded, or refused."""
        self._metrics.load_ended(name, loaded=loaded)

    def taken(self, model: Model) -> None:
        """Shows a model's counts."""
        self._metrics.loaded(self._counted[model], model)

    def gone(self, model: Model) -> None:
        """Forgets them."""
        self._metrics.unloaded(self._counted.pop(model))
