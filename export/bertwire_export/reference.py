"""Make the reference that every candidate is compared with: the labelled rows, and PyTorch's logits for them."""

from dataclasses import dataclass

import numpy as np

from bertwire_core.errors import UserError
from bertwire_core.scope import SCOPE, Scope, write_centroids
from bertwire_data.pages.figures import calibration_error
from bertwire_export.checkpoint import Checkpoint
from bertwire_export.examples import Examples, Logits
from bertwire_export.measure import Refused, torch_logits
from bertwire_export.one_row import one_row
from bertwire_export.rare import Rare
from bertwire_export.tasks import TASK_EXPORTS
from bertwire_export.unlabelled import Unlabelled
from bertwire_runtime.bundle import Abstention, Calibration, Scores, file_entry
from bertwire_runtime.bundle import Reference as ReferenceScores

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
        refused: from which texts PyTorch abstains; None where the model never does.
    """

    examples: Examples
    logits: Logits
    refused: Refused | None = None


@dataclass(frozen=True)
class Reference:
    """The splits, and what was fitted and scored on them with PyTorch.

    Attributes:
        dev: the rows on which candidates are compared.
        test: further rows, or None.
        calibration: temperature and thresholds, fitted on dev.
        abstention: when the model abstains, for the manifest; None where it never does.
        scope: the same for texts.
        scores: PyTorch's scores.
        rare: texts with tokens that the rows may lack.
        unlabelled: texts without labels, or None.
        one_row: what one row of dev is worth; see `one_row`.
    """

    dev: SplitReference
    test: SplitReference | None
    calibration: Calibration
    abstention: Abstention | None
    scope: Scope | None
    scores: ReferenceScores
    rare: Rare
    unlabelled: Unlabelled | None
    one_row: Scores


def make_reference(
    dev: SplitReference,
    test: SplitReference | None,
    rare: Rare,
    unlabelled: Unlabelled | None = None,
    scope: Scope | None = None,
) -> Reference:
    """Calibrate and score PyTorch's logits of the splits; `scope` is of a model that abstains."""
    calibration = calibrate(dev)

    def score(split: SplitReference) -> Scores:
        return split.examples.score(split.logits, calibration.thresholds or None)

    scores = ReferenceScores(dev=score(dev), test=None if test is None else score(test))
    worth = one_row(dev.examples, dev.logits, calibration.thresholds or None)
    abstention = _abstention(dev, test, scope)
    return Reference(dev, test, calibration, abstention, scope, scores, rare, unlabelled, worth)


def _abstention(dev: SplitReference, test: SplitReference | None, scope: Scope | None) -> Abstention | None:
    if scope is None or dev.refused is None:
        return None
    return Abstention(
        threshold=scope.threshold,
        entropy_weight=scope.entropy_weight,
        file=file_entry(SCOPE, write_centroids(scope.centroids)),
        dev=float(dev.refused.mean()),
        test=None if test is None or test.refused is None else float(test.refused.mean()),
    )


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

    Where the model abstains they are always computed, for no vectors are recorded.

    Raises:
        UserError: a logit is not finite.
    """
    refused = None
    if checkpoint.scope is not None:
        rows = torch_logits(checkpoint, examples, "PyTorch", both=True)
        recorded, refused = checkpoint.scope.split(rows)[0], checkpoint.scope.refuses(rows)
    elif recorded is None or not _gives(checkpoint, examples, recorded):
        recorded = torch_logits(checkpoint, examples, "PyTorch")
    if not np.isfinite(recorded).all():
        raise UserError(f"{checkpoint.path}: the model's logits are not all finite numbers; train again")
    return SplitReference(examples, recorded, refused)


def _gives(checkpoint: Checkpoint, examples: Examples, recorded: Logits) -> bool:
    places = examples.spread(_CHECKED_TEXTS)
    found = torch_logits(checkpoint, examples.take(places), "PyTorch on a sample")
    return np.allclose(found, recorded[examples.rows(places)], rtol=_SAME_LOGIT, atol=_SAME_LOGIT)
