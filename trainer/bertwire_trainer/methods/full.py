"""Full fine-tuning."""

from bertwire_core.pooling import Pooling
from bertwire_core.tasks import TASKS
from bertwire_trainer.loop.options import LoopOptions
from bertwire_trainer.method import Fitted, Job


class Full:
    """Train every weight of the encoder and the head."""

    Options = LoopOptions
    tasks = frozenset(TASKS)
    pooling: Pooling | None = None

    def fit(self, job: Job, options: LoopOptions) -> Fitted:
        """Train all weights of the model and return those of the best epoch."""
        from bertwire_trainer.loop.trainer import run_epochs

        return run_epochs(job, options)
