"""The options of methods that train with the loop over epochs."""

from typing import Any, Literal, Self

from pydantic import Field, model_validator

from bertwire_core.errors import UserError
from bertwire_core.tasks import Task
from bertwire_trainer import ranks
from bertwire_trainer.loop.recipe import choose_epochs, choose_patience, choose_rate
from bertwire_trainer.method import MethodOptions, Scale
from bertwire_trainer.tasks import SPECS

ClassWeights = Literal["none", "balanced"]


class LoopOptions(MethodOptions):
    """How many epochs, with which steps and which loss."""

    epochs: int = Field(0, ge=0, description="Passes over train at most. 0: more for many labels and for few rows.")
    patience: int = Field(
        0,
        ge=0,
        description="Stop after this many epochs in a row that are no better on dev. 0: two, or a fifth of the epochs.",
    )
    batch_size: int = Field(
        32,
        ge=1,
        description="Texts of one forward and backward pass on average: a batch has texts of similar lengths, more of "
        "short ones and fewer of long ones.",
    )
    batch_tokens: int | None = Field(
        None, ge=1, description="Tokens of a batch at most, padding included, in place of --batch-size."
    )
    gradient_accumulation: int = Field(1, ge=1, description="Batches whose gradients make one optimizer step.")
    save_steps: int | None = Field(
        None, ge=1, description="Optimizer steps after which the state is saved for --resume also within an epoch."
    )
    gradient_checkpointing: bool = Field(
        False, description="Compute activations again in the backward pass: less memory for a third more time."
    )
    learning_rate: float = Field(
        0.0, ge=0, description="Peak learning rate of AdamW; it decays linearly to 0. 0: lower for a wider encoder."
    )
    warmup_ratio: float = Field(0.1, ge=0, lt=1, description="Share of the steps over which the rate rises from 0.")
    weight_decay: float = Field(0.01, ge=0, description="Weight decay of AdamW, off for biases and layer norms.")
    dropout: float | None = Field(
        None, ge=0, lt=1, description="Dropout of the encoder and the head. Unset: the checkpoint's own."
    )
    label_smoothing: float = Field(0.0, ge=0, lt=1, description="Probability mass spread over all labels.")
    class_weights: ClassWeights = Field("none", description="balanced: weigh labels by inverse frequency in train.")
    r_drop: float = Field(
        0.0,
        ge=0,
        description="R-Drop: run each batch through dropout twice, and add to the loss this times the symmetric KL "
        "divergence of the two answers. Twice the time a step.",
    )
    fgm: float = Field(
        0.0,
        ge=0,
        description="FGM adversarial training: learn each batch again with its token embeddings moved, by this L2 norm "
        "a text, in the direction that raises the loss. Twice the time a step.",
    )
    average_epochs: int = Field(
        1, ge=1, description="Try the mean of the weights after the last so many epochs; keep it if better on dev."
    )
    seeds: int = Field(
        1,
        ge=1,
        description="Model soup: train this many times, from --seed on, and try the mean of the weights; keep it if "
        "better on dev than the best run.",
    )

    @model_validator(mode="after")
    def _agree(self) -> Self:
        if self.r_drop and self.dropout == 0:
            raise ValueError("--r-drop compares two dropout passes; raise --dropout above 0")
        if self.batch_tokens is not None and self.batch_size != type(self).model_fields["batch_size"].default:
            raise ValueError("--batch-size and --batch-tokens both bound a batch; leave one of them out")
        return self

    def suited(self, scale: Scale) -> Self:
        """Return the options with epochs, patience and learning rate by `bertwire_trainer.loop.recipe`."""
        batch = self.batch_size if self.batch_tokens is None else max(1, int(self.batch_tokens / scale.length))
        steps = max(1, scale.rows // (batch * self.gradient_accumulation * ranks.count()))
        epochs = self.epochs or choose_epochs(scale.labels, steps)
        patience = self.patience or choose_patience(epochs)
        rate = self.learning_rate or choose_rate(scale.width)
        return self.model_copy(update={"epochs": epochs, "patience": patience, "learning_rate": rate})

    def require_task(self, task: Task) -> None:
        """Raise `UserError` where class weights or label smoothing are set and do not apply to `task`."""
        if self.class_weights != "none" and not SPECS[task].class_weights:
            tasks = " and ".join(name for name, spec in SPECS.items() if spec.class_weights)
            raise UserError(f"--class-weights {self.class_weights} is for {tasks}; this is {task}")
        if self.label_smoothing and not SPECS[task].label_smoothing:
            tasks = " and ".join(name for name, spec in SPECS.items() if spec.label_smoothing)
            raise UserError(f"--label-smoothing is for {tasks}; this is {task}")

    def recorded(self) -> dict[str, Any]:
        """Return the options and what the loop does without one."""
        fixed = {"optimizer": "adamw", "schedule": "linear", "max_grad_norm": 1.0, "batches": "by length"}
        return super().recorded() | fixed
