"""The interface between the run and a stage: what comes before, after or around a method."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, Self, TypeVar

from bertwire_core.options import Config
from bertwire_core.pooling import Pooling
from bertwire_core.tasks import Task
from bertwire_trainer.method import Fitted, Job

if TYPE_CHECKING:
    from bertwire_trainer.data import Data

Fit = Callable[[Job], Fitted]


@dataclass(frozen=True, slots=True)
class Start:
    """The checkpoint of bertwire train that a run starts from in place of `--model`.

    Attributes:
        checkpoint: its folder.
        labels: its labels, which come first in those of the run.
        pooling: what its head reads; None: its architecture's own.
        max_length: tokens that it reads of a text.
        truncation_side: the side on which it cuts longer texts.
    """

    checkpoint: Path
    labels: list[str]
    pooling: Pooling | None
    max_length: int
    truncation_side: str


class StageOptions(Config):
    """Base of the options of a stage; each field is an option of `bertwire train`.

    The option of the stage's own name asks for the stage; the names of the others begin with it: `adapt`,
    `adapt_epochs`.
    """

    def require_method(self, method: str) -> None:
        """Raise `UserError` where the stage cannot be around a method, by its name."""

    def start(self) -> Start | None:
        """Return what the run starts from in place of `--model`; None: `--model`. `UserError` for a faulty folder."""
        return None


OptionsT = TypeVar("OptionsT", bound=StageOptions, contravariant=True)


class Stage(Protocol[OptionsT]):
    """A stage of one run, with its options and what it has read.

    Attributes:
        Options: the options of the stage.
        tasks: the tasks that it is for.
        in_folds: whether the trainings of --folds have it: not what leaves the model as it is and needs all of dev.
    """

    Options: ClassVar[type[StageOptions]]
    tasks: ClassVar[frozenset[Task]]
    in_folds: ClassVar[bool]

    @classmethod
    def read(cls, options: OptionsT, data: "Data") -> Self:
        """Check the options, and read the files that they name, before PyTorch is loaded.

        Raises:
            UserError: an option does not fit the others or `data`, or a file is faulty.
        """
        ...

    def recorded(self) -> dict[str, Any]:
        """Return what determines the result, as training.json says it: no absolute path, a fingerprint of each file.

        A run that is resumed must have the same.
        """
        ...

    def run(self, job: Job, fit: Fit) -> Fitted:
        """Train the model of `job` by `fit`, with the stage around it.

        `fit` is the method with the stages that come later. It may change `job.model` in place; a stage that calls it
        more than once gives it a copy of the model and, for every call, `epochs` and `logs` of its own, below those of
        `job`. Called again with the same job after an interruption, it returns what it would have returned without;
        what it keeps for that lies in `job.epochs / NAME`.

        Returns:
            The result of `fit`, with what the stage did (`Fitted.after`).

        Raises:
            UserError: the checkpoint or the device does not allow it.
        """
        ...
