"""Dev, by which an encoder is chosen: how well the prototypes of train recognize it."""

from dataclasses import dataclass
from typing import Any, Self

import numpy
from numpy.typing import NDArray

from bertwire_core.pooled import PooledClassifier
from bertwire_trainer.cosine import class_means, fit_scale
from bertwire_trainer.loop.dev import choice
from bertwire_trainer.messages import figures, say
from bertwire_trainer.method import Job
from bertwire_trainer.predict import embed
from bertwire_trainer.scores import measure
from bertwire_trainer.tokens import TokenDataset, tokenize

# Texts of a class whose mean is its prototype here. Halved, the means of classes whose texts differ much are chancy.
_MOST_TEXTS = 100


@dataclass(frozen=True, slots=True)
class Dev:
    """What an encoder is measured with.

    Attributes:
        job: the job.
        model: the encoder, with its pooling.
        train: the texts that make prototypes.
    """

    job: Job
    model: PooledClassifier
    train: TokenDataset

    @classmethod
    def of(cls, job: Job, model: PooledClassifier) -> Self:
        """Choose the texts of train, by the seed."""
        split, targets = job.data.train, job.data.targets["train"]
        generator = numpy.random.default_rng(job.seed)
        of_class = [numpy.flatnonzero(targets == each) for each in range(len(job.data.labels))]
        rows = numpy.concatenate([generator.permutation(each)[:_MOST_TEXTS] for each in of_class])
        return cls(job, model, tokenize(model, job.tokenizer, split.take(rows.tolist()), targets[rows]))

    def choice(self, episode: int) -> float:
        """Return the figure by which encoders are chosen, of the one that the model has now; print the scores.

        Of encoders with the same score the one with the lower loss is better.
        """
        metrics = self._measured()
        say(f"episode {episode}: dev {figures(metrics)}")
        return choice(self.job, metrics)

    def _measured(self) -> dict[str, float]:
        data, dev = self.job.data, self.job.tokens["dev"]
        (learnt,) = embed(self.model, self.job.tokenizer, self.train, "embed train")
        (asked,) = embed(self.model, self.job.tokenizer, dev, "embed dev")
        targets: NDArray[Any] = self.train.targets
        cosines = asked @ class_means(learnt, targets, len(data.labels)).T
        return measure(data.task, fit_scale(cosines, dev.targets) * cosines, dev.targets, data.labels, None)
