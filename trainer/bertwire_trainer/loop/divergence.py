"""Training that has diverged is stopped."""
# ruff: noqa: ANN401, ARG002 - Trainer calls every hook with all it has, and each needs little of it.

import math
from collections import deque
from statistics import fmean
from typing import Any

from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

# Steps whose mean loss counts. Halved, single batches of mislabelled texts can look like divergence.
_STEPS = 10
# How many times the first steps' loss is too far. Halved, a few hard batches of a small set can come close.
_FAR = 5.0
# Least loss of the first steps to compare with, in nats. Halved, nothing breaks; at 0, a checkpoint that knows the task
# already would be stopped by ordinary batches.
_LEAST_START = 1.0


class Divergence(TrainerCallback):
    """Stops the training where the loss of a step is not finite, or steps in a row have one far above the first ones.

    Attributes:
        reason: what has happened, in words; "" while all is well.
    """

    def __init__(self) -> None:
        self.reason = ""
        self._step = 0.0
        self._first: list[float] = []
        self._last: deque[float] = deque(maxlen=_STEPS)

    def add(self, loss: float) -> None:
        """Add the loss of one batch to that of the step."""
        self._step += loss

    def found(self, reason: str, control: TrainerControl) -> None:
        """Stop for a reason; what the weights are now is neither evaluated nor saved."""
        self.reason = reason
        control.should_training_stop = True
        control.should_evaluate = control.should_save = False

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        """Look at the loss of the step."""
        loss, self._step = self._step, 0.0
        if len(self._first) < _STEPS:
            self._first.append(loss)
        self._last.append(loss)
        now, start = fmean(self._last), max(fmean(self._first), _LEAST_START)
        if not math.isfinite(loss):
            self.found(f"the loss of step {state.global_step} is {loss}", control)
        elif len(self._last) == _STEPS and now > _FAR * start:
            self.found(f"the loss is {now:.3g} at step {state.global_step}, at the start {start:.3g}", control)

    def on_epoch_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        """Keep the state of diverged weights out of the checkpoints."""
        if self.reason:
            self.found(self.reason, control)
