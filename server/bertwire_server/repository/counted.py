"""Joins each model with what is counted of it."""

from weakref import WeakKeyDictionary

from bertwire_runtime.predictor import Predictor
from bertwire_server.model.model import Model, Serving
from bertwire_server.telemetry.metrics import Metrics
from bertwire_server.telemetry.model_metrics import ModelInfo, ModelMetrics


class CountedModels:
    """Makes models that are counted, and shows the counts while they take traffic: a `FleetObserver`."""

    def __init__(self, metrics: Metrics) -> None:
        """Show them in `metrics`."""
        self._metrics = metrics
        # A model that is refused after it was made leaves nothing behind.
        self._counted: WeakKeyDictionary[Model, ModelMetrics] = WeakKeyDictionary()

    def build(self, predictor: Predictor, serving: Serving) -> Model:
        """Make a model; in any thread."""
        manifest, engine, variant = predictor.manifest, predictor.engine, predictor.engine.variant
        info = ModelInfo(
            name=manifest.name,
            version=manifest.version,
            variant=variant.name,
            precision=variant.precision,
            provider=engine.provider,
            layout=variant.layout,
            task=manifest.task,
            labels=tuple(predictor.head.names(manifest)),
            queue_texts=serving.room,
            proven=engine.proven,
            fallback=bool(engine.passed_over),
        )
        counted = ModelMetrics(info)
        model = Model(predictor, serving, counted)
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
