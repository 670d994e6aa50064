"""Metrics of the models of a repository."""

from weakref import WeakKeyDictionary

from bertwire_runtime.predictor import Predictor
from bertwire_server.model.model import Model, Serving
from bertwire_server.repository.service import FleetObserver
from bertwire_server.telemetry.metrics import Metrics
from bertwire_server.telemetry.model_metrics import ModelInfo, ModelMetrics


class CountedModels(FleetObserver):
    """Builds models with metrics, and shows these while they take traffic."""

    def __init__(self, metrics: Metrics) -> None:
        """Show nothing yet.

        Args:
            metrics: of the server.
        """
        self._metrics = metrics
        # Weak: a model that is refused after it was built is never `gone`.
        self._counted: WeakKeyDictionary[Model, ModelMetrics] = WeakKeyDictionary()

    def build(self, predictor: Predictor, serving: Serving) -> Model:
        """Build a model; any thread may."""
        manifest, engine, variant = predictor.manifest, predictor.engine, predictor.engine.variant
        info = ModelInfo(
            name=manifest.name,
            version=manifest.version,
            variant=(variant.name, variant.precision, engine.provider, variant.layout, manifest.task),
            labels=tuple(predictor.head.names(manifest)),
            queue_texts=serving.room,
            proven=engine.proven,
            fallback=bool(engine.passed_over),
            rules=() if manifest.rules is None else manifest.rules.names,
        )
        counted = ModelMetrics(info)
        model = Model(predictor, serving, counted)
        self._counted[model] = counted
        return model

    def load_ended(self, name: str, *, loaded: bool) -> None:
        """Count an attempt to load a version of a model."""
        self._metrics.load_ended(name, loaded=loaded)

    def taken(self, model: Model) -> None:
        """Show the metrics of a model."""
        self._metrics.loaded(self._counted[model], model)

    def gone(self, model: Model) -> None:
        """Remove the metrics of a model."""
        self._metrics.unloaded(self._counted.pop(model))
