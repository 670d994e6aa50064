"""Adaptation: the encoder goes on with its pretraining, on unlabelled texts, before it learns the task."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Self

from bertwire_core.errors import UserError
from bertwire_core.tasks import TASKS, Task
from bertwire_data.texts import fingerprint, read_distinct
from bertwire_trainer.messages import note
from bertwire_trainer.method import Fitted, Job
from bertwire_trainer.stage import StageOptions
from bertwire_trainer.stages.adapt.options import AdaptOptions

if TYPE_CHECKING:
    from bertwire_trainer.data import Data
    from bertwire_trainer.stage import Fit


@dataclass(frozen=True, slots=True)
class Adapt:
    """Adaptation of one run.

    Attributes:
        options: the options.
        texts: the distinct texts of all files.
    """

    Options: ClassVar[type[StageOptions]] = AdaptOptions
    tasks: ClassVar[frozenset[Task]] = frozenset(TASKS)
    in_folds: ClassVar[bool] = True

    options: AdaptOptions
    texts: list[str]

    @classmethod
    def read(cls, options: AdaptOptions, data: "Data") -> Self:
        """Read the texts; note how many are also in test."""
        column = data.train.columns.text if options.adapt_column is None else options.adapt_column
        # SimCSE would push equal texts of a batch apart.
        texts = read_distinct(options.adapt, column, "--adapt-column")
        if len(texts) < 2:
            raise UserError("--adapt needs two different texts at least")
        tested = {text for text in data.test.inputs if isinstance(text, str)} if data.test else set()
        if shared := len(tested.intersection(texts)):
            note(f"adapt: {shared} of the {len(texts)} texts are also in test; they are read without their labels")
        return cls(options, texts)

    def recorded(self) -> dict[str, Any]:
        """Return the options, and the number and fingerprint of the texts."""
        return self.options.recorded() | fingerprint(self.texts)

    def run(self, job: Job, fit: "Fit") -> Fitted:
        """Adapt the encoder of the job, then train it."""
        from bertwire_trainer.stages.adapt.loop import adapt_encoder

        done = adapt_encoder(job, self.options, self.texts)
        return fit(job).after("adapt", done)
