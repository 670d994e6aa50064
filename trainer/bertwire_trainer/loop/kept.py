"""Which weights are kept."""

from dataclasses import dataclass

from bertwire_trainer.loop.averages import Weights, copied
from bertwire_trainer.loop.dev import choice, measure_dev
from bertwire_trainer.method import Job


@dataclass(frozen=True, slots=True)
class Kept:
    """Weights that a model has.

    Attributes:
        weights: what they are, in words.
        epoch: the epoch that they are of; for a mean, the last.
        choice: the figure of dev by which weights are chosen.
    """

    weights: str
    epoch: int
    choice: float


def better(job: Job, kept: Kept, other: Weights, what: str, epoch: int) -> Kept:
    """Try other weights than those that `job.model` has; leave it with the better ones on dev.

    Args:
        job: the job of the model.
        kept: what the model has.
        other: the weights to try.
        what: what they are, in words.
        epoch: the last epoch that they are of.
    """
    before = copied(job.model)
    job.model.load_state_dict(other)
    score = choice(job, measure_dev(job, job.model, what))
    if score > kept.choice:
        return Kept(what, epoch, score)
    job.model.load_state_dict(before)
    return kept
