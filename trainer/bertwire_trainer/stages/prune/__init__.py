"""Pruning: the encoder loses layers or feed-forward neurons, and the method trains what is left."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Self

from bertwire_core.tasks import TASKS, Task
from bertwire_trainer.method import Fitted, Job
from bertwire_trainer.stage import StageOptions
from bertwire_trainer.stages.prune.options import PruneOptions

if TYPE_CHECKING:
    from bertwire_trainer.data import Data
    from bertwire_trainer.stage import Fit


@dataclass(frozen=True, slots=True)
class Prune:
    """Pruning of one run.

    Attributes:
        options: the options.
    """

    Options: ClassVar[type[StageOptions]] = PruneOptions
    tasks: ClassVar[frozenset[Task]] = frozenset(TASKS)
    in_folds: ClassVar[bool] = True

    options: PruneOptions

    @classmethod
    def read(cls, options: PruneOptions, data: "Data") -> Self:  # noqa: ARG003 - a stage's arguments
        """Check the options."""
        options.require_complete()
        return cls(options)

    def recorded(self) -> dict[str, Any]:
        """Return the options."""
        return self.options.model_dump()

    def run(self, job: Job, fit: "Fit") -> Fitted:
        """Prune the encoder of the job, then train it."""
        from bertwire_trainer.stages.prune.encoder import prune_encoder

        done = prune_encoder(job, self.options)
        return fit(job).after("prune", done)
