"""Per-model statistics for ModelStatistics."""

from dataclasses import dataclass, field
from time import time
from weakref import WeakKeyDictionary

from bertwire.oip import inference_pb2 as pb
from bertwire_server.inference import Answered
from bertwire_server.model.model import Model


@dataclass(slots=True)
class Durations:
    """A count of events and their total seconds."""

    count: int = 0
    seconds: float = 0.0

    def add(self, seconds: float) -> None:
        """Count one event."""
        self.count += 1
        self.seconds += seconds

    def message(self) -> pb.StatisticDuration:
        """Return the protocol message."""
        return pb.StatisticDuration(count=self.count, ns=round(1e9 * self.seconds))


@dataclass(slots=True)
class _Counters:
    success: Durations = field(default_factory=Durations)
    fail: Durations = field(default_factory=Durations)
    queue: Durations = field(default_factory=Durations)
    tokenize: Durations = field(default_factory=Durations)
    run: Durations = field(default_factory=Durations)
    output: Durations = field(default_factory=Durations)
    texts: int = 0
    last: float = 0.0


class Statistics:
    """Statistics of loaded models; unloading a model discards its own."""

    def __init__(self) -> None:
        self._models: WeakKeyDictionary[Model, _Counters] = WeakKeyDictionary()

    def succeeded(self, answered: Answered, seconds: float, output_seconds: float) -> None:
        """Count a request answered in `seconds` from its parsing, `output_seconds` of them for the response."""
        counters, predictions = self._of(answered.model), answered.predictions
        counters.texts += len(predictions)
        counters.last = time()
        counters.success.add(seconds)
        counters.queue.add(max(each.queue_seconds for each in predictions))
        counters.tokenize.add(predictions[0].tokenize_seconds)
        counters.run.add(max(each.run_seconds for each in predictions))
        counters.output.add(output_seconds)

    def failed(self, model: Model, seconds: float) -> None:
        """Count a failed request."""
        self._of(model).fail.add(seconds)

    def message(self, model: Model) -> pb.ModelStatistics:
        """Return a model's statistics."""
        counters = self._of(model)
        return pb.ModelStatistics(
            name=model.manifest.name,
            version=model.manifest.version,
            last_inference=round(1e3 * counters.last),
            inference_count=counters.texts,
            execution_count=model.totals.batches,
            inference_stats=pb.InferStatistics(
                success=counters.success.message(),
                fail=counters.fail.message(),
                queue=counters.queue.message(),
                compute_input=counters.tokenize.message(),
                compute_infer=counters.run.message(),
                compute_output=counters.output.message(),
            ),
            batch_stats=[
                pb.InferBatchStatistics(batch_size=texts, compute_infer=Durations(*runs).message())
                for texts, runs in sorted(model.totals.by_size.items())
            ],
        )

    def _of(self, model: Model) -> _Counters:
        counters = self._models.get(model)
        if counters is None:
            counters = self._models[model] = _Counters()
        return counters
