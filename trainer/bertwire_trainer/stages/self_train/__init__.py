"""Self-training: a model is trained on texts without labels, by what the model before it says of them."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Self

from bertwire_core.errors import UserError
from bertwire_core.tasks import Task
from bertwire_data.texts import fingerprint, read_distinct
from bertwire_trainer.messages import note
from bertwire_trainer.method import Fitted, Job
from bertwire_trainer.overlaps import places_apart
from bertwire_trainer.stage import StageOptions
from bertwire_trainer.stages.rows import unlabelled
from bertwire_trainer.stages.self_train.options import SelfTrainOptions

if TYPE_CHECKING:
    from bertwire_trainer.data import Data
    from bertwire_trainer.stage import Fit


@dataclass(frozen=True, slots=True)
class SelfTrain:
    """Self-training of one run.

    Attributes:
        options: the options.
        texts: the distinct texts of all files that no split has.
    """

    Options: ClassVar[type[StageOptions]] = SelfTrainOptions
    tasks: ClassVar[frozenset[Task]] = frozenset({"single_label", "multi_label"})
    in_folds: ClassVar[bool] = True

    options: SelfTrainOptions
    texts: list[str]

    @classmethod
    def read(cls, options: SelfTrainOptions, data: "Data") -> Self:
        """Read the texts; leave out those that a split has, of which the label is known."""
        if data.train.text_pairs:
            raise UserError(f"--self-train is for single texts; {data.train.source} has pairs of texts")
        column = data.train.columns.text if options.self_train_column is None else options.self_train_column
        texts = read_distinct(options.self_train, column, "--self-train-column")
        new = [texts[place] for place in places_apart(texts, data.splits().values())]
        if not new:
            raise UserError("--self-train has no text that is not in train, dev or test; add others")
        if len(new) < len(texts):
            note(f"self-train: {len(texts) - len(new)} of the {len(texts)} texts are in train, dev or test; left out")
        return cls(options, new)

    def recorded(self) -> dict[str, Any]:
        """Return the options, and the number and fingerprint of the texts."""
        return self.options.recorded() | fingerprint(self.texts)

    def run(self, job: Job, fit: "Fit") -> Fitted:
        """Train on the labelled rows, then in rounds on the other texts as well."""
        from bertwire_trainer.stages.self_train.rounds import Rounds

        texts = unlabelled(job.data.train, self.texts)
        return Rounds(job, fit, texts, self.options).run()
