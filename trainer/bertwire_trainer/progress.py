"""Shows how training goes: bars on standard error, the dev report of each epoch on standard output."""
# ruff: noqa: ANN401, ARG002 - Trainer calls every hook with all it has, and each needs little of it.

from contextlib import ExitStack
from types import TracebackType
from typing import Any, Self

from transformers import EvalPrediction, TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from bertwire_client.console import Bar, err, out, progress
from bertwire_trainer.scores import report, score


class EpochReport(TrainerCallback):
    """One bar for the steps of an epoch, one for the evaluation after it, then the report; closes its bar on exit."""

    def __init__(self, labels: list[str], epochs: int) -> None:
        self._labels, self._epochs = labels, epochs
        self._bar: Bar | None = None
        self._open = ExitStack()
        self._first_step = self._evaluated = 0
        self._loss = self._report = ""

    def measure(self, prediction: EvalPrediction) -> dict[str, float]:
        """Measures dev; Trainer calls it at the end of each epoch."""
        logits, label_ids = prediction.predictions, prediction.label_ids
        scores = score(logits, label_ids)  # type: ignore[arg-type]  # a model with one output gives one array
        self._report = (
            f"dev accuracy {scores.accuracy:.4f}, macro-F1 {scores.macro_f1:.4f}, loss {scores.loss:.4f}\n"
            f"{report(logits, label_ids, self._labels)}"  # type: ignore[arg-type]
        )
        return scores.model_dump()

    def on_epoch_begin(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        """Opens the bar of the epoch."""
        self._first_step = state.global_step
        self._show(f"epoch {_epoch(state) + 1}/{self._epochs}", state.max_steps // self._epochs)

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        """Moves the bar on by one optimizer step."""
        if self._bar:
            self._bar(state.global_step - self._first_step, self._loss)

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: dict[str, float] | None = None,
        **_: Any,
    ) -> None:
        """Takes the running loss for the note beside the bar."""
        if logs and "loss" in logs:
            self._loss = f"loss {logs['loss']:.4f}"

    def on_epoch_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        """Closes the bar of the epoch."""
        self._hide()

    def on_prediction_step(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **run: Any
    ) -> None:
        """Moves the bar of the evaluation on by one batch."""
        if self._bar is None:
            self._evaluated = 0
            self._show("dev", len(run["eval_dataloader"]))
        self._evaluated += 1
        if self._bar:
            self._bar(self._evaluated)

    def on_evaluate(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        """Prints the dev report."""
        self._hide()
        say(f"epoch {_epoch(state)}: {self._report}")

    def _show(self, label: str, total: int) -> None:
        self._bar = self._open.enter_context(progress(label, total))

    def _hide(self) -> None:
        self._open.close()
        self._bar = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._hide()


def _epoch(state: TrainerState) -> int:
    return round(state.epoch or 0)


def say(text: str) -> None:
    """Prints a result as it is: not wrapped, and without taking brackets in label names for markup."""
    out.print(text, markup=False, highlight=False, soft_wrap=True)


def note(text: str) -> None:
    """Prints a remark on the way to the result, as it is."""
    err.print(text, markup=False, highlight=False, soft_wrap=True)
