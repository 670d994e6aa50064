"""Association of models with their metrics."""

from weakref import WeakKeyDictionary

from bertwire_runtime.predictor import Predictor
from bertwire_server.model.model import Model, Serving
from bertwire_server.telemetry.metrics import Metrics
from bertwire_server.telemetry.model_metrics import ModelInfo, ModelMetrics


class CountedModels:
    """Builds models with metrics and exports them while the models serve: a `FleetObserver`."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        # Weak, since a model may be refused after it was built.
        self._counted: WeakKeyDictionary[Model, ModelMetrics] = WeakKeyDictionary()

    def build(self, predictor: Predictor, serving: Serving) -> Model:
        """Build a model; thread-safe."""
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
        """Count a load or refusal."""
        self._metrics.load_ended(name, loaded=loaded)

    def taken(self, model: Model) -> None:
        """Export a model's metrics."""
        self._metrics.loaded(self._counted[model], model)

    def gone(self, model: Model) -> None:
        """Stop exporting a model's metrics."""
        self._metrics.unloaded(self._counted.pop(model))
