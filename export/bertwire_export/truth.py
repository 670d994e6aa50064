"""What every candidate is held against: the labelled rows, and PyTorch's logits for them."""

from dataclasses import dataclass

import numpy as np

from bertwire_client.console import tracked
from bertwire_client.errors import UserError
from bertwire_export.bundle import Calibration, Reference
from bertwire_export.calibration import calibrate
from bertwire_export.checkpoint import Checkpoint
from bertwire_export.examples import Examples, Logits
from bertwire_export.measure import torch_logits


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
    """

    dev: Known
    test: Known | None
    calibration: Calibration
    reference: Reference


def find_truth(checkpoint: Checkpoint, dev: Examples, test: Examples | None) -> Truth:
    """Runs PyTorch over the splits; raises `UserError` where its logits are no numbers."""
    known = pytorch(checkpoint, dev)
    further = None if test is None else pytorch(checkpoint, test)
    calibration = calibrate(dev, known.logits)
    thresholds = calibration.thresholds or None
    reference = Reference(
        dev=dev.score(known.logits, thresholds),
        test=None if further is None else further.examples.score(further.logits, thresholds),
    )
    return Truth(known, further, calibration, reference)


def pytorch(checkpoint: Checkpoint, examples: Examples) -> Known:
    """Runs PyTorch over a split; raises `UserError` where its logits are no numbers."""
    logits = torch_logits(
        checkpoint.model, examples, checkpoint.pad_token_id, types=checkpoint.reads_types, track=tracked
    )
    if not np.isfinite(logits).all():
        raise UserError(f"{checkpoint.path}: the model's logits are not all finite numbers; train again")
    return Known(examples, logits)
