"""What every candidate is held against: the labelled rows, and PyTorch's logits for them."""

from dataclasses import dataclass

import numpy as np

from bertwire_core.console import tracked
from bertwire_core.errors import UserError
from bertwire_export.calibration import calibrate
from bertwire_export.checkpoint import Checkpoint
from bertwire_export.examples import Examples, Logits
from bertwire_export.measure import torch_logits
from bertwire_export.rare import Rare
from bertwire_runtime.bundle import Calibration, Reference

# Texts on which PyTorch has to give the logits that the trainer wrote down, before those are taken for all. A change of
# the model that one text in 50 notices goes unseen here once in 170 times; fp32 is then still held against every text.
_CHECKED_TEXTS = 256
# Far above what another order of additions changes, on another machine; a tenth of what fp32 may be off by default.
_SAME_LOGIT = 1e-4


@dataclass(frozen=True)
class Known:
    """One split with PyTorch's logits for it."""

    examples: Examples
    logits: Logits


@dataclass(frozen=True)
class Truth:
    """The splits, and what was fitted and scored on them with PyTorch.

    Attributes:
        dev: the rows that decide.
        test: further rows, or None.
        calibration: fitted on dev.
        reference: PyTorch's scores.
        rare: texts with tokens that the rows may lack.
    """

    dev: Known
    test: Known | None
    calibration: Calibration
    reference: Reference
    rare: Rare


def find_truth(dev: Known, test: Known | None, rare: Rare) -> Truth:
    """Fits and scores what PyTorch's logits say of the splits."""
    calibration = calibrate(dev.examples, dev.logits)
    thresholds = calibration.thresholds or None
    reference = Reference(
        dev=dev.examples.score(dev.logits, thresholds),
        test=None if test is None else test.examples.score(test.logits, thresholds),
    )
    return Truth(dev, test, calibration, reference, rare)


def pytorch(checkpoint: Checkpoint, examples: Examples, recorded: Logits | None) -> Known:
    """PyTorch's logits for a split: those recorded, if it still gives them on a sample, else it runs over all texts.

    Raises:
        UserError: the logits are not all numbers.
    """
    if recorded is None or not _gives(checkpoint, examples, recorded):
        recorded = _run(checkpoint, examples, "PyTorch")
    if not np.isfinite(recorded).all():
        raise UserError(f"{checkpoint.path}: the model's logits are not all finite numbers; train again")
    return Known(examples, recorded)


def _gives(checkpoint: Checkpoint, examples: Examples, recorded: Logits) -> bool:
    places = examples.spread(_CHECKED_TEXTS)
    found = _run(checkpoint, examples.take(places), "PyTorch on a sample")
    return np.allclose(found, recorded[examples.rows(places)], rtol=_SAME_LOGIT, atol=_SAME_LOGIT)


def _run(checkpoint: Checkpoint, examples: Examples, title: str) -> Logits:
    types, pad = checkpoint.reads_types, checkpoint.pad_token_id
    return torch_logits(checkpoint.model, examples, pad, types=types, title=title, track=tracked)
