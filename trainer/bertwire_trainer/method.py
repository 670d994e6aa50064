"""The interface between the run and a method of training."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol, Self, TypeVar

from bertwire_core.options import Config
from bertwire_core.pooling import Pooling
from bertwire_core.tasks import Task

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from bertwire_core.pooled import Classifier
    from bertwire_trainer.base import Base
    from bertwire_trainer.data import Data
    from bertwire_trainer.tasks.spec import Loss
    from bertwire_trainer.tokens import TokenDataset


class MethodOptions(Config):
    """Base of the options of a method; each field is an option of `bertwire train`."""

    def require_task(self, task: Task) -> None:
        """Raise `UserError` where an option that is set does not apply to `task`."""

    def require_data(self, data: "Data") -> None:
        """Check what the method needs of the rows, and the files that options name, before PyTorch is loaded.

        Raises:
            UserError: the rows do not fit the options, or a file is faulty.
        """

    def require_folds(self) -> None:
        """Raise `UserError` where what the options name would tell a fit of the rows that it is scored on."""

    def labels(self) -> list[str]:
        """Return the labels that the options name, with or without rows in train; `UserError` for a faulty file."""
        return []

    def suited(self, scale: "Scale") -> Self:
        """Return the options with what the user left open chosen by the rows and the encoder."""
        del scale
        return self

    def recorded(self) -> dict[str, Any]:
        """Return what training.json says of the options: each by its name."""
        return self.model_dump()


@dataclass(frozen=True, slots=True)
class Scale:
    """What a recipe is chosen by.

    Attributes:
        rows: rows of train; of a text in chunks, each chunk.
        labels: labels, or tags; 1 for numbers.
        width: hidden size of the encoder.
        length: tokens of a row on average; 1 where rows are not tokenized yet.
    """

    rows: int
    labels: int
    width: int
    length: float = 1.0


Report = Callable[[int, float], None]


@dataclass(frozen=True, slots=True)
class Job:
    """The input of a method.

    Attributes:
        data: the labelled rows.
        model: the pretrained encoder with a new head, float32 on the CPU; the method may change it in place. It is a
            `PooledClassifier`, or a model of transformers' for tags of words and where the user chose its own head.
        tokenizer: the tokenizer of the encoder.
        tokens: the rows of train and dev as token ids.
        precision: the arithmetic to train in.
        tf32: whether fp32 matrix products may use TF32 on a CUDA device.
        compile: whether to compile the model with torch.compile.
        seed: the seed of everything random.
        base: the checkpoint that `model` was loaded from.
        epochs: the folder for what the method needs to resume, kept until the checkpoint is published. It may not
            exist; where it holds a whole epoch of an interrupted run, the method goes on from that.
        logs: the folder for TensorBoard, published with the checkpoint.
        report: called after each epoch with its number and the score on dev; what it raises ends the run.
        loss: the summed loss that the loop over epochs learns by, as `TaskSpec.loss`, of what `tokens` have as labels;
            None: the task's own.
    """

    data: "Data"
    model: "Classifier"
    tokenizer: "PreTrainedTokenizerBase"
    tokens: "dict[str, TokenDataset]"
    precision: Literal["fp32", "bf16", "fp16"]
    tf32: bool
    compile: bool
    seed: int
    base: "Base"
    epochs: Path
    logs: Path
    report: Report | None = None
    loss: "Loss | None" = None


@dataclass(frozen=True, slots=True)
class Fitted:
    """The output of a method.

    Attributes:
        model: a plain transformers model, or a `PooledClassifier`, with the weights to publish, in float32.
        tokenizer: its tokenizer.
        best_epoch: the epoch that the weights are of, for a mean the last; the first is 1; None for a method without
            epochs.
        weights: which weights they are, in words; empty for a method without epochs.
        stages: what each stage did, by its name, as training.json says it.
        chosen: what the method chose by itself, by name, as training.json says it.
    """

    model: "Classifier"
    tokenizer: "PreTrainedTokenizerBase"
    best_epoch: int | None
    weights: str = ""
    stages: dict[str, dict[str, Any]] = field(default_factory=dict)
    chosen: dict[str, Any] = field(default_factory=dict)

    def after(self, stage: str, done: dict[str, Any]) -> "Fitted":
        """Return this with what a stage did: JSON values by name."""
        return replace(self, stages=self.stages | {stage: done})


OptionsT = TypeVar("OptionsT", bound=MethodOptions)


class Method(Protocol[OptionsT]):
    """How a pretrained encoder learns a task.

    Attributes:
        Options: the options of the method.
        tasks: the tasks that it can train.
        pooling: what the head reads unless the user chooses, of a method that needs a `PooledClassifier`; None: any
            head will do.
    """

    Options: type[OptionsT]
    tasks: frozenset[Task]
    pooling: Pooling | None

    def fit(self, job: Job, options: OptionsT) -> Fitted:
        """Train the model of `job`; raise `UserError` where the data or the device do not allow it.

        Called again with the same job after an interruption, it returns what it would have returned without.
        """
        ...
