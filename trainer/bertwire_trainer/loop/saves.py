"""Checkpoints within an epoch."""
# ruff: noqa: ANN401, ARG002 - Trainer calls every hook with all it has, and each needs little of it.

from typing import Any

from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments


class StepSaves(TrainerCallback):
    """Saves the state every so many optimizer steps; Trainer itself saves it after every epoch."""

    def __init__(self, steps: int) -> None:
        self._steps = steps

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        """Save, but not at the end of an epoch: that checkpoint is written once, after dev is measured."""
        if state.global_step % self._steps == 0 and (state.epoch or 0) % 1:
            control.should_save = True
