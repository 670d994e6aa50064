"""Full fine-tuning."""

from pydantic import Field

from bertwire_core.pooling import Pooling
from bertwire_core.tasks import TASKS
from bertwire_trainer.loop.options import LoopOptions
from bertwire_trainer.method import Fitted, Job


class FullOptions(LoopOptions):
    """The loop's options and what differs by the depth of a layer."""

    layer_decay: float = Field(
        1.0, gt=0, le=1, description="Factor of the learning rate from each layer to the one below it; the head's is 1."
    )
    unfreeze_epochs: int = Field(
        0,
        ge=0,
        description="Gradual unfreezing: the head alone learns in the first epoch, then in each more layers from the "
        "top; after this many epochs all.",
    )


class Full:
    """Train every weight of the encoder and the head."""

    Options = FullOptions
    tasks = frozenset(TASKS)
    pooling: Pooling | None = None

    def fit(self, job: Job, options: FullOptions) -> Fitted:
        """Train all weights of the model and return those of the best epoch."""
        from bertwire_trainer.loop.layers import Unfreezing, depths, rates
        from bertwire_trainer.loop.trainer import run_epochs

        layers = depths(job.model)
        unfreezing = [Unfreezing(layers, options.unfreeze_epochs)] if options.unfreeze_epochs else []
        return run_epochs(job, options, rates(layers, options.layer_decay), unfreezing)
