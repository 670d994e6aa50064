"""The interface between the run and a method of training."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypeVar

from bertwire_core.options import Config
from bertwire_core.tasks import Task

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

    from bertwire_trainer.data import Data
    from bertwire_trainer.tokens import TokenDataset


class MethodOptions(Config):
    """Base of the options of a method; each field is an option of `bertwire train`."""

    def require_task(self, task: Task) -> None:
        """Raise `UserError` where an option that is set does not apply to `task`."""

    def recorded(self) -> dict[str, Any]:
        """Return what training.json says of the options: each by its name."""
        return self.model_dump()


@dataclass(frozen=True, slots=True)
class Job:
    """The input of a method.

    Attributes:
        data: the labelled rows.
        model: the pretrained encoder with a new head, float32 on the CPU; the method may change it in place.
        tokenizer: the tokenizer of the encoder.
        tokens: the rows of train and dev as token ids.
        precision: the arithmetic to train in.
        tf32: whether fp32 matrix products may use TF32 on a CUDA device.
        compile: whether to compile the model with torch.compile.
        seed: the seed of everything random.
        epochs: the folder for what the method needs to resume, kept until the checkpoint is published.
        logs: the folder for TensorBoard, published with the checkpoint.
        resume_from: the folder below `epochs` of the last checkpoint of an interrupted run; None to start.
    """

    data: "Data"
    model: "PreTrainedModel"
    tokenizer: "PreTrainedTokenizerBase"
    tokens: "dict[str, TokenDataset]"
    precision: Literal["fp32", "bf16", "fp16"]
    tf32: bool
    compile: bool
    seed: int
    epochs: Path
    logs: Path
    resume_from: Path | None


@dataclass(frozen=True, slots=True)
class Fitted:
    """The output of a method.

    Attributes:
        model: a plain transformers model with the weights to publish, in float32.
        tokenizer: its tokenizer.
        best_epoch: the epoch that the weights are of, for a mean the last; the first is 1.
        weights: which weights they are, in words.
    """

    model: "PreTrainedModel"
    tokenizer: "PreTrainedTokenizerBase"
    best_epoch: int
    weights: str


OptionsT = TypeVar("OptionsT", bound=MethodOptions)


class Method(Protocol[OptionsT]):
    """How a pretrained encoder learns a task.

    Attributes:
        Options: the options of the method.
        tasks: the tasks that it can train.
    """

    Options: type[OptionsT]
    tasks: frozenset[Task]

    def fit(self, job: Job, options: OptionsT) -> Fitted:
        """Train the model of `job`; raise `UserError` where the data or the device do not allow it.

        Called again with the same job and `resume_from` after an interruption, it returns what it would have returned
        without.
        """
        ...
