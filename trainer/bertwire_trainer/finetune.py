"""The training loop: transformers' Trainer with dev evaluated, and the state saved, after every epoch."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch.utils.tensorboard import SummaryWriter
from transformers import EarlyStoppingCallback, PrinterCallback, Trainer, TrainingArguments
from transformers.integrations.integration_utils import TensorBoardCallback

from bertwire_data.labelled import MAIN_METRIC
from bertwire_trainer.messages import figures, metric_name, note, say
from bertwire_trainer.partial import epochs_run
from bertwire_trainer.predict import collator, predict
from bertwire_trainer.progress import EpochBars
from bertwire_trainer.recipe import CHOICE, Loss
from bertwire_trainer.scores import measure, report
from bertwire_trainer.tokens import TokenDataset

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

# What the loss counts beside the score: less than a single text of any dev set does.
_TIE = 1e-9


@dataclass(frozen=True, slots=True)
class Recipe:
    """How to train.

    Attributes:
        arguments: Trainer's arguments.
        loss: the loss, as Trainer's `compute_loss_func`.
        patience: epochs that are no better on dev before training stops.
        logs: folder for TensorBoard.
        checkpoint: Trainer checkpoint to resume from; None to begin.
    """

    arguments: TrainingArguments
    loss: Loss
    patience: int
    logs: Path
    checkpoint: Path | None


@dataclass(frozen=True, slots=True)
class DevSet:
    """What chooses the best epoch.

    Attributes:
        tokens: the texts.
        labels: label names in id order.
        words: for token classification the number of words of each text.
    """

    tokens: TokenDataset
    labels: list[str]
    words: list[int] | None


class _Curves(TensorBoardCallback):
    """Writes the curves alone: the arguments, which the base class adds at the start, hold paths of this machine."""

    def on_train_begin(self, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401
        """Writes nothing."""


class _Trainer(Trainer):
    """Trainer with our own evaluation: its own pads every answer to the longest text, and loses the texts' order."""

    measure_dev: Callable[[], dict[str, float]]
    metric: str

    def evaluate(self, *_: Any, **__: Any) -> dict[str, float]:  # noqa: ANN401 - Trainer's arguments, all for its own
        """Measures dev and tells the callbacks; Trainer calls it at the end of each epoch."""
        measured = self.measure_dev()
        metrics = {f"eval_{name}": value for name, value in measured.items()}
        self.log(metrics)
        metrics[f"eval_{CHOICE}"] = measured[self.metric] - _TIE * measured["loss"]
        self.control = self.callback_handler.on_evaluate(self.args, self.state, self.control, metrics)
        return metrics


def finetune(
    model: "PreTrainedModel", tokenizer: "PreTrainedTokenizerBase", train: TokenDataset, dev: DevSet, recipe: Recipe
) -> int:
    """Trains `model` in place, until `patience` epochs were no better on dev or all epochs are over.

    Of epochs with the same score the one with the lower loss is better: on few texts the first may have them all right,
    and scores near chance.

    Prints the report on dev after each epoch. The model ends with the weights of the best one.

    Returns:
        The best epoch, counted from 1.
    """
    arguments, checkpoint, patience = recipe.arguments, recipe.checkpoint, recipe.patience
    epochs, metric = int(arguments.num_train_epochs), MAIN_METRIC[train.task]
    if checkpoint and (stopped := epochs_run(checkpoint, patience)):
        arguments.num_train_epochs = stopped
    with EpochBars(epochs) as bars, SummaryWriter(str(recipe.logs)) as writer:
        trainer = _Trainer(
            model=model,
            args=arguments,
            data_collator=collator(tokenizer, train),
            train_dataset=train,
            eval_dataset=dev.tokens,
            compute_loss_func=recipe.loss,
            callbacks=[bars, EarlyStoppingCallback(patience), _Curves(writer)],  # type: ignore[no-untyped-call]
        )
        trainer.metric = metric
        trainer.measure_dev = lambda: _measure_dev(trainer, tokenizer, dev)
        trainer.remove_callback(PrinterCallback)
        trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
    best, last = _best_epoch(trainer, metric), round(trainer.state.epoch or 0)
    if last < epochs:
        note(f"stopped after epoch {last}: dev {metric_name(metric)} was no better for {patience} epochs in a row")
    note(f"kept epoch {best}")
    return best


def _measure_dev(trainer: Trainer, tokenizer: "PreTrainedTokenizerBase", dev: DevSet) -> dict[str, float]:
    model: PreTrainedModel = trainer.model  # type: ignore[assignment]  # the model that training was given
    logits = predict(model, tokenizer, dev.tokens, dev.labels, "dev")
    answers = (dev.tokens.task, logits, dev.tokens.targets, dev.labels, dev.words)
    metrics = measure(*answers)
    say(f"epoch {round(trainer.state.epoch or 0)}: dev {figures(metrics)}\n{report(*answers)}")
    return metrics


def _best_epoch(trainer: Trainer, metric: str) -> int:
    step = trainer.state.best_global_step
    return next(
        round(entry["epoch"])
        for entry in trainer.state.log_history
        if entry["step"] == step and f"eval_{metric}" in entry
    )
