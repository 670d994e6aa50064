"""Abstaining: after training, a threshold below which a text looks like none of the labels."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Self

from pydantic import Field

from bertwire_core.errors import UserError
from bertwire_core.tasks import TASKS, Task
from bertwire_trainer.messages import note
from bertwire_trainer.method import Fitted, Job
from bertwire_trainer.stage import StageOptions
from bertwire_trainer.tasks import SPECS

if TYPE_CHECKING:
    import numpy
    from numpy.typing import NDArray

    from bertwire_trainer.data import Data
    from bertwire_trainer.stage import Fit


class AbstainOptions(StageOptions):
    """How many texts may be refused."""

    abstain: bool = Field(False, description="Recognize texts that belong to none of the labels.")
    abstain_rate: float = Field(0.05, gt=0, lt=1, description="Share of the dev texts that may be taken for such.")

    def refused(self, texts: int) -> int:
        """Return how many of `texts` texts may be refused."""
        return int(self.abstain_rate * texts + 1e-9)


@dataclass(frozen=True, slots=True)
class Abstain:
    """Abstaining of one run.

    Attributes:
        options: the options.
    """

    Options: ClassVar[type[StageOptions]] = AbstainOptions
    tasks: ClassVar[frozenset[Task]] = frozenset(task for task in TASKS if SPECS[task].classes)
    in_folds: ClassVar[bool] = False

    options: AbstainOptions

    @classmethod
    def read(cls, options: AbstainOptions, data: "Data") -> Self:
        """Check that dev has enough texts for the rate."""
        if not options.refused(len(data.dev)):
            raise UserError(
                f"--abstain-rate {options.abstain_rate:g} of {len(data.dev)} dev texts is less than one text; add rows "
                "to dev or raise it"
            )
        return cls(options)

    def recorded(self) -> dict[str, Any]:
        """Return the options."""
        return self.options.model_dump()

    def run(self, job: Job, fit: "Fit") -> Fitted:
        """Train, then choose the threshold on dev."""
        import torch

        from bertwire_core.scope import scopes
        from bertwire_trainer.predict import predict

        fitted = fit(job)
        fitted.model.to("cuda" if torch.cuda.is_available() else "cpu")  # type: ignore[arg-type]
        logits = predict(fitted.model, fitted.tokenizer, job.tokens["dev"], job.data.labels, "abstain")
        found = scopes(logits)
        threshold = choose_threshold(found, self.options.refused(len(found)))
        refused = int((found < threshold).sum())
        note(f"abstain: {refused} of the {len(found)} texts of dev are refused")
        return fitted.after("abstain", {"threshold": threshold, "dev_refused": refused})


def choose_threshold(found: "NDArray[numpy.float64]", refused: int) -> float:
    """Return the threshold, midway between two of `found`, below which `refused` lie, or fewer where some are equal.

    Raises:
        UserError: all of the least are equal, so that none can be told from the others.
    """
    ordered: list[float] = sorted(found.tolist())
    while refused and ordered[refused - 1] == ordered[refused]:
        refused -= 1
    if not refused:
        raise UserError("--abstain: the model gives too many texts of dev the same logits; raise --abstain-rate")
    return (ordered[refused - 1] + ordered[refused]) / 2
