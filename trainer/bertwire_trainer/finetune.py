"""The training loop: transformers' Trainer with dev evaluated, and the state saved, after every epoch."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch.utils.tensorboard import SummaryWriter
from transformers import (
    DataCollatorWithPadding,
    EarlyStoppingCallback,
    PrinterCallback,
    Trainer,
    TrainingArguments,
)
from transformers.integrations.integration_utils import TensorBoardCallback

from bertwire_trainer.partial import epochs_run
from bertwire_trainer.progress import EpochReport, note
from bertwire_trainer.recipe import Loss
from bertwire_trainer.tokens import TokenDataset

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase


class _Curves(TensorBoardCallback):
    """Writes the curves alone: the arguments, which the base class adds at the start, hold paths of this machine."""

    def on_train_begin(self, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401
        """Writes nothing."""


def finetune(
    model: "PreTrainedModel",
    tokenizer: "PreTrainedTokenizerBase",
    train: TokenDataset,
    dev: TokenDataset,
    labels: list[str],
    arguments: TrainingArguments,
    loss: Loss,
    patience: int,
    logs: Path,
    checkpoint: Path | None,
) -> int:
    """Trains `model` in place, until `patience` epochs brought no better dev macro-F1 or all epochs are over.

    Args:
        model: the model to train; it ends with the weights of the best epoch.
        tokenizer: pads the batches.
        train: texts to learn.
        dev: texts that choose the best epoch.
        labels: label names in id order, for the reports.
        arguments: Trainer's arguments.
        loss: the loss, as Trainer's `compute_loss_func`.
        patience: epochs without a better dev macro-F1 before training stops.
        logs: folder for TensorBoard.
        checkpoint: Trainer checkpoint to resume from; None to begin.

    Returns:
        The best epoch, counted from 1.
    """
    epochs = int(arguments.num_train_epochs)
    if checkpoint and (stopped := epochs_run(checkpoint, patience)):
        arguments.num_train_epochs = stopped
    with EpochReport(labels, epochs) as reporting, SummaryWriter(str(logs)) as writer:
        trainer = Trainer(
            model=model,
            args=arguments,
            data_collator=DataCollatorWithPadding(tokenizer),
            train_dataset=train,
            eval_dataset=dev,
            compute_loss_func=loss,
            compute_metrics=reporting.measure,
            callbacks=[reporting, EarlyStoppingCallback(patience), _Curves(writer)],  # type: ignore[no-untyped-call]
        )
        trainer.remove_callback(PrinterCallback)
        trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
    best, last = _best_epoch(trainer), round(trainer.state.epoch or 0)
    if last < epochs:
        note(f"stopped after epoch {last}: dev macro-F1 was no better for {patience} epochs in a row")
    note(f"kept epoch {best}")
    return best


def _best_epoch(trainer: Trainer) -> int:
    step = trainer.state.best_global_step
    return next(
        round(entry["epoch"])
        for entry in trainer.state.log_history
        if entry["step"] == step and "eval_macro_f1" in entry
    )
