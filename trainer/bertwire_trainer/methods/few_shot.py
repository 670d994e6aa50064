"""Few-shot: contrastive fine-tuning of the encoder on pairs of labelled texts, then a linear layer on its vectors.

The method of Tunstall et al. 2022, "Efficient Few-Shot Learning Without Prompts" (SetFit), without its library.
"""

from typing import TYPE_CHECKING, Any

from pydantic import Field

from bertwire_core.errors import UserError
from bertwire_core.pooling import Pooling
from bertwire_core.tasks import TASKS
from bertwire_trainer.method import Fitted, Job
from bertwire_trainer.methods.frozen import FrozenOptions
from bertwire_trainer.tasks import SPECS

if TYPE_CHECKING:
    from bertwire_core.pooled import PooledClassifier

# Texts of train for each label over which the note about other methods is printed. Halved, it is printed where few-shot
# is still meant to be used.
_MANY = 200


class FewShotOptions(FrozenOptions):
    """How many pairs, in which steps, and how the linear layer is fitted."""

    num_iterations: int = Field(
        20, ge=1, description="Pairs with a text of the same label, and as many with another's, for each text of train."
    )
    batch_size: int = Field(32, ge=2, description="Texts of the pairs of one step.")
    learning_rate: float = Field(1e-4, gt=0, description="Peak learning rate of AdamW; it decays linearly to 0.")

    def recorded(self) -> dict[str, Any]:
        """Return the options and what contrastive fine-tuning does without one."""
        from bertwire_trainer.contrast import MAX_NORM, WARMUP

        fixed = {"optimizer": "adamw", "schedule": "linear", "warmup_ratio": WARMUP, "max_grad_norm": MAX_NORM}
        return super().recorded() | fixed


class FewShot:
    """Bring texts with a label in common together and others apart, then fit the head: for 4 to 64 texts a label."""

    Options = FewShotOptions
    tasks = frozenset(task for task in TASKS if SPECS[task].similarity)
    pooling: Pooling | None = Pooling("mean", normalize=True)

    def fit(self, job: Job, options: FewShotOptions) -> Fitted:
        """Train the encoder on pairs and fit the layer on what it gives; after an interruption, from the start."""
        import torch
        from transformers import set_seed

        from bertwire_trainer.contrast import contrast
        from bertwire_trainer.linear import fit_head
        from bertwire_trainer.messages import note
        from bertwire_trainer.predict import embed

        model: PooledClassifier = job.model  # type: ignore[assignment]  # a method with a pooling gets this one
        if len(job.data.train) > _MANY * len(job.data.labels):
            note(f"few-shot: over {_MANY} texts a label; it is meant for fewer, compare --method full and frozen")
        # A run that starts again draws the same dropout, whatever a stage before it has drawn.
        set_seed(job.seed)
        model.to("cuda" if torch.cuda.is_available() else "cpu")
        contrast(job, model, options.num_iterations, options.batch_size, options.learning_rate)
        (vectors,) = embed(model, job.tokenizer, job.tokens["train"], "embed train")
        if not torch.from_numpy(vectors).isfinite().all():
            raise UserError("few-shot diverged: vectors are not finite; lower --learning-rate or use fp32")
        fit_head(model.to("cpu"), vectors, job.data, job.seed, options.strength)
        return Fitted(model, job.tokenizer, None)
