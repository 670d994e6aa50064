"""A bar for the steps of each epoch, on standard error."""
# ruff: noqa: ANN401, ARG002 - Trainer calls every hook with all it has, and each needs little of it.

from contextlib import ExitStack
from types import TracebackType
from typing import Any, Self

from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from bertwire_core.console import Bar, progress


class EpochBars(TrainerCallback):
    """One bar for the steps of an epoch; it is closed on exit."""

    def __init__(self, epochs: int, title: str = "epoch") -> None:
        self._epochs, self._title = epochs, title
        self._bar: Bar | None = None
        self._open = ExitStack()
        self._first_step = 0
        self._note = ""

    def on_epoch_begin(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        """Open the bar of the epoch."""
        steps, epoch = state.max_steps // self._epochs, int(state.epoch or 0)
        # Not the step that it begins at, which is within the epoch where a run goes on.
        self._first_step = epoch * steps
        self._bar = self._open.enter_context(progress(f"{self._title} {epoch + 1}/{self._epochs}", steps))

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        """Move the bar on by one optimizer step."""
        if self._bar:
            self._bar(state.global_step - self._first_step, self._note)

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: dict[str, float] | None = None,
        **_: Any,
    ) -> None:
        """Keep the running loss and the learning rate for the note beside the bar."""
        if logs and "loss" in logs:
            self._note = f"loss {logs['loss']:.4f}, rate {logs['learning_rate']:.1e}"

    def on_epoch_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        """Close the bar of the epoch."""
        self._hide()

    def _hide(self) -> None:
        self._open.close()
        self._bar = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._hide()
