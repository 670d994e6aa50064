"""Counts and times of each loaded model, as ModelStatistics reports them."""

from dataclasses import dataclass, field
from time import time
from weakref import WeakKeyDictionary

from bertwire.oip import inference_pb2 as pb
from bertwire_server.inference import Answered
from bertwire_server.model.model import Model


@dataclass(slots=True)
class Span:
    """How often something took place, and how many seconds all of that took."""

    count: int = 0
    seconds: float = 0.0

    def add(self, seconds: float) -> None:
        """Counts it once more."""
        self.count += 1
        self.seconds += seconds

    def message(self) -> pb.StatisticDuration:
        """The protocol's form."""
        return pb.StatisticDuration(count=self.count, ns=round(1e9 * self.seconds))


@dataclass(slots=True)
class _Counters:
    success: Span = field(default_factory=Span)
    fail: Span = field(default_factory=Span)
    queue: Span = field(default_factory=Span)
    tokenize: Span = field(default_factory=Span)
    run: Span = field(default_factory=Span)
    output: Span = field(default_factory=Span)
    texts: int = 0
    last: float = 0.0


class Statistics:
    """Counts what becomes of requests; a model that is unloaded takes its counts with it."""

    def __init__(self) -> None:
        self._models: WeakKeyDictionary[Model, _Counters] = WeakKeyDictionary()

    def succeeded(self, answered: Answered, seconds: float, output_seconds: float) -> None:
        """A request was answered.

        Args:
            answered: by what, and with what.
            seconds: from its reading to its answer.
            output_seconds: the part of them that went into making the answer's message.
        """
        counters, predictions = self._of(answered.model), answered.predictions
        counters.texts += len(predictions)
        counters.last = time()
        counters.success.add(seconds)
        counters.queue.add(max(each.queue_seconds for each in predictions))
        counters.tokenize.add(predictions[0].tokenize_seconds)
        counters.run.add(max(each.run_seconds for each in predictions))
        counters.output.add(output_seconds)

    def failed(self, model: Model, seconds: float) -> None:
        """A request to a model failed."""
        self._of(model).fail.add(seconds)

    def message(self, model: Model) -> pb.ModelStatistics:
        """What is known of a model."""
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
                pb.InferBatchStatistics(batch_size=texts, compute_infer=Span(*runs).message())
                for texts, runs in sorted(model.totals.by_size.items())
            ],
        )

    def _of(self, model: Model) -> _Counters:
        counters = self._models.get(model)
        if counters is None:
            counters = self._models[model] = _Counters()
        return counters
