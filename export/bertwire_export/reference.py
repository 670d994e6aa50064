"""Make the reference that every candidate is compared with: the labelled rows, and PyTorch's logits for them."""

from dataclasses import dataclass
from typing import Self

import numpy as np
from tokenizers import Encoding

from bertwire_core.errors import UserError
from bertwire_core.scope import scopes
from bertwire_core.tasks import ServedTask
from bertwire_data.pages.figures import calibration_error
from bertwire_export.baseline import SplitName
from bertwire_export.checkpoint import Abstain, Checkpoint
from bertwire_export.examples import Examples, Logits
from bertwire_export.measure import finite, onnx_logits, quality, torch_logits
from bertwire_export.one_row import one_row
from bertwire_export.rare import Rare
from bertwire_export.similarity import one_neighbour, vector_scores
from bertwire_export.tasks import TASK_EXPORTS
from bertwire_export.unlabelled import Unlabelled
from bertwire_runtime.bundle import Abstention, Calibration, Quality, Scores, Split
from bertwire_runtime.bundle import Reference as ReferenceScores
from bertwire_runtime.runner import Runner

# Texts on which PyTorch has to give the logits that the trainer wrote down, before those are taken for all. A change of
# the model that one text in 50 notices goes unseen here once in 170 times, with half as many once in 13; fp32 is then
# still compared on every text.
_CHECKED_TEXTS = 256
# In logits, absolute and relative. Far above what another order of additions changes, on another machine; a tenth of
# what fp32 may differ by default.
_SAME_LOGIT = 1e-4


@dataclass(frozen=True)
class SplitReference:
    """One split with PyTorch's logits for it, as `Examples.decided` returns them.

    Attributes:
        vectors: float32 [texts, dimensions], of a model that gives both; else None.
    """

    examples: Examples
    logits: Logits
    vectors: Logits | None = None

    @classmethod
    def of_rows(cls, examples: Examples, rows: Logits) -> Self:
        """Return the split of rows with the logits, and the vector behind them, if any."""
        labels = len(examples.labels)
        return cls(examples, rows[:, :labels], rows[:, labels:] if rows.shape[1] > labels else None)


@dataclass(frozen=True)
class Reference:
    """The splits, and what was fitted and scored on them with PyTorch: the `Baseline` of a trained model.

    Attributes:
        dev: the rows on which candidates are compared.
        test: further rows, or None.
        calibration: temperature and thresholds, fitted on dev.
        abstention: when the model abstains; None where it never does.
        scores: PyTorch's scores.
        rare: texts with tokens that the rows may lack.
        unlabelled: texts without labels, or None.
        one_row: what one row of dev is worth; see `one_row`.
    """

    dev: SplitReference
    test: SplitReference | None
    calibration: Calibration
    abstention: Abstention | None
    scores: ReferenceScores
    rare: Rare
    unlabelled: Unlabelled | None
    one_row: Scores

    @property
    def task(self) -> ServedTask:
        """The task of the rows."""
        return self.dev.examples.labelled.task

    @property
    def encodings(self) -> list[Encoding]:
        """The texts of dev, long ones in chunks."""
        return self.dev.examples.encodings

    @property
    def chunks(self) -> list[list[Encoding]]:
        """The same, text by text."""
        return self.dev.examples.chunks

    @property
    def splits(self) -> dict[SplitName, Split]:
        """The manifest's entries for the rows."""
        found: dict[SplitName, Split] = {"dev": self.dev.examples.split()}
        return found if self.test is None else found | {"test": self.test.examples.split()}

    @property
    def remarks(self) -> list[str]:
        """What was found out about the files of rows while they were read."""
        splits = [each for each in (self.dev, self.test) if each is not None]
        return [remark for each in splits for remark in each.examples.labelled.remarks]

    def compare(self, runner: Runner, title: str, split: SplitName) -> tuple[Logits, Quality]:
        """Return a graph's logits on a split, as `Examples.decided` does, with their scores and distance."""
        known = self.dev if split == "dev" else self.test
        assert known is not None  # noqa: S101 - `splits` has it
        examples = known.examples
        found = SplitReference.of_rows(examples, finite(onnx_logits(runner, examples, title), title))
        result = quality(examples, found.logits, known.logits, self.calibration.thresholds or None, self.abstention)
        scores = result.scores | _vector_scores(found, known)
        return found.logits, result.model_copy(update={"scores": scores})


def make_reference(
    dev: SplitReference,
    test: SplitReference | None,
    rare: Rare,
    unlabelled: Unlabelled | None = None,
    abstain: Abstain | None = None,
) -> Reference:
    """Calibrate and score PyTorch's logits of the splits; `abstain` is of a model that does."""
    calibration = calibrate(dev)

    def score(split: SplitReference) -> Scores:
        return split.examples.score(split.logits, calibration.thresholds or None) | _vector_scores(split, split)

    scores = ReferenceScores(dev=score(dev), test=None if test is None else score(test))
    worth = one_row(dev.examples, dev.logits, calibration.thresholds or None)
    if dev.vectors is not None:
        worth = worth | {"neighbours": one_neighbour(dev.vectors)}
    return Reference(dev, test, calibration, _abstention(dev, test, abstain), scores, rare, unlabelled, worth)


def _vector_scores(found: SplitReference, known: SplitReference) -> Scores:
    if found.vectors is None or known.vectors is None:
        return {}
    return vector_scores(found.vectors, known.vectors)


def _abstention(dev: SplitReference, test: SplitReference | None, abstain: Abstain | None) -> Abstention | None:
    if abstain is None:
        return None

    def share(split: SplitReference) -> float:
        return float((scopes(split.logits) < abstain.threshold).mean())

    return Abstention(threshold=abstain.threshold, dev=share(dev), test=None if test is None else share(test))


def calibrate(dev: SplitReference) -> Calibration:
    """Fit what the task's scores need on dev, and measure their calibration error before and after it."""
    task = TASK_EXPORTS[dev.examples.labelled.task]
    logits, targets = dev.examples.read_rows(dev.logits)
    temperature, thresholds = task.fit(logits, targets)
    before, after = (task.confidence(logits, targets, each) for each in (1.0, temperature))
    return Calibration(
        temperature=temperature,
        thresholds=thresholds,
        ece_before=None if before is None else calibration_error(*before),
        ece_after=None if after is None else calibration_error(*after),
    )


def split_reference(checkpoint: Checkpoint, examples: Examples, recorded: Logits | None) -> SplitReference:
    """Return a split with PyTorch's logits: those recorded where PyTorch gives them on a sample, else computed anew.

    Raises:
        UserError: a logit is not finite.
    """
    if recorded is None or checkpoint.both or not _gives(checkpoint, examples, recorded):
        recorded = torch_logits(checkpoint, examples, "PyTorch")
    if not np.isfinite(recorded).all():
        raise UserError(f"{checkpoint.path}: the model's logits are not all finite numbers; train again")
    return SplitReference.of_rows(examples, recorded)


def _gives(checkpoint: Checkpoint, examples: Examples, recorded: Logits) -> bool:
    places = examples.spread(_CHECKED_TEXTS)
    found = torch_logits(checkpoint, examples.take(places), "PyTorch on a sample")
    return np.allclose(found, recorded[examples.rows(places)], rtol=_SAME_LOGIT, atol=_SAME_LOGIT)
