"""Abstaining: after training, centroids of each label's texts and a threshold on how near a text is to one."""

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar, Self, cast

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

    from bertwire_core.pooled import PooledClassifier
    from bertwire_trainer.data import Data
    from bertwire_trainer.stage import Fit


class AbstainOptions(StageOptions):
    """How many texts may be refused."""

    abstain: bool = Field(False, description="Recognize texts that belong to none of the labels.")
    abstain_rate: float = Field(0.05, gt=0, lt=1, description="Share of the dev texts that may be taken for such.")

    def refused(self, texts: int) -> int:
        """Return how many of `texts` texts may be refused."""
        return int(self.abstain_rate * texts + 1e-9)

    def require_head(self, *, pooled: bool) -> None:
        """Raise `UserError` for a head that is no linear layer on a pooled vector."""
        if not pooled:
            raise UserError(
                "--abstain reads the pooled vector, which an architecture's own head does not give; leave --pooling "
                "own out"
            )


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
        """Check that dev has enough texts for the rate, and train a row of each label."""
        if not options.refused(len(data.dev)):
            raise UserError(
                f"--abstain-rate {options.abstain_rate:g} of {len(data.dev)} dev texts is less than one text; add rows "
                "to dev or raise it"
            )
        if lacking := sorted({*data.labels} - {*data.train.names()}):
            raise UserError(f"--abstain needs rows of each label in train, and {lacking[0]} has none; add some")
        return cls(options)

    def recorded(self) -> dict[str, Any]:
        """Return the options."""
        return self.options.model_dump()

    def run(self, job: Job, fit: "Fit") -> Fitted:
        """Train, then make the centroids of train, and choose the weight of the entropy and the threshold on dev."""
        import torch

        from bertwire_core.scope import cosines, entropies
        from bertwire_trainer.centroids import train_centroids, weigh_entropy
        from bertwire_trainer.predict import embed

        fitted = fit(job)
        model = cast("PooledClassifier", fitted.model)  # see `require_head`
        model.to("cuda" if torch.cuda.is_available() else "cpu")
        centroids = train_centroids(job, model, fitted.tokenizer)
        (vectors,) = embed(model, fitted.tokenizer, job.tokens["dev"], "embed dev")
        with torch.inference_mode():
            logits = model.head(torch.from_numpy(vectors).to(model.device)).cpu().numpy()
        near, entropy = cosines(vectors, centroids), entropies(logits)
        weight = weigh_entropy(near, entropy)
        found = near - weight * entropy
        threshold = choose_threshold(found, self.options.refused(len(found)))
        refused = int((found < threshold).sum())
        note(f"abstain: {refused} of the {len(found)} texts of dev are refused")
        done = {"threshold": threshold, "entropy_weight": weight, "dev_refused": refused}
        return replace(fitted.after("abstain", done), centroids=centroids)


def choose_threshold(found: "NDArray[numpy.float64]", refused: int) -> float:
    """Return the threshold, midway between two of `found`, below which `refused` lie, or fewer where some are equal.

    Raises:
        UserError: all of the least are equal, so that none can be told from the others.
    """
    ordered: list[float] = sorted(found.tolist())
    while refused and ordered[refused - 1] == ordered[refused]:
        refused -= 1
    if not refused:
        raise UserError("--abstain: too many texts of dev are equally like those of train; raise --abstain-rate")
    return (ordered[refused - 1] + ordered[refused]) / 2
