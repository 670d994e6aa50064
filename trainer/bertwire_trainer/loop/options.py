"""The options of methods that train with the loop over epochs."""

from typing import Any, Literal

from pydantic import Field

from bertwire_core.errors import UserError
from bertwire_core.tasks import Task
from bertwire_trainer.method import MethodOptions
from bertwire_trainer.tasks import SPECS

ClassWeights = Literal["none", "balanced"]


class LoopOptions(MethodOptions):
    """How many epochs, with which steps and which loss."""

    epochs: int = Field(3, ge=1, description="Passes over train at most.")
    patience: int = Field(2, ge=1, description="Stop after this many epochs in a row that are no better on dev.")
    batch_size: int = Field(32, ge=1, description="Texts of one forward and backward pass.")
    gradient_accumulation: int = Field(1, ge=1, description="Batches whose gradients make one optimizer step.")
    learning_rate: float = Field(1e-4, gt=0, description="Peak learning rate of AdamW; it decays linearly to 0.")
    warmup_ratio: float = Field(0.1, ge=0, lt=1, description="Share of the steps over which the rate rises from 0.")
    weight_decay: float = Field(0.01, ge=0, description="Weight decay of AdamW, off for biases and layer norms.")
    label_smoothing: float = Field(0.0, ge=0, lt=1, description="Probability mass spread over all labels.")
    class_weights: ClassWeights = Field("none", description="balanced: weigh labels by inverse frequency in train.")

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
