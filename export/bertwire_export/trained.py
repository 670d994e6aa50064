"""Read the trainer's records of a checkpoint: the rows it held out, its decisions on them, and their logits."""

from pathlib import Path
from typing import Any

import numpy as np

from bertwire_core.errors import UserError
from bertwire_data.labelled import decisions
from bertwire_data.tables import open_table
from bertwire_export.checkpoint import Checkpoint
from bertwire_export.examples import Examples, Logits
from bertwire_export.reference import SplitReference

# Largest share of dev rows whose decision is not that of training; one row may always differ. The same weights in fp32
# on another machine may turn a decision whose logits are nearly equal, and no more than that.
_MOST_OTHER = 0.01


def held_out(checkpoint: Path, split: str) -> Path:
    """Return the file of a split's rows and predictions."""
    return checkpoint / "predictions" / f"{split}.jsonl"


def recorded_logits(checkpoint: Checkpoint, split: str, examples: Examples) -> Logits | None:
    """Return the logits that the trainer recorded for a split, as `Examples.decided` returns them.

    None where the rows are no longer those that it trained with, or a row is without logits of the model's labels.
    """
    trained = checkpoint.training.data.get(split)
    if trained is None or trained.sha256 != examples.labelled.sha256():
        return None
    try:
        rows = [row["logits"] for row in _rows(held_out(checkpoint.path, split))]
        logits = np.concatenate(rows) if examples.first_pieces is not None else np.stack(rows)
        logits = logits.astype(np.float32)
    except (KeyError, TypeError, ValueError):
        return None
    return logits if logits.shape == (len(examples.targets), len(examples.labels)) else None


def require_trained(checkpoint: Checkpoint, dev: SplitReference) -> None:
    """Raise `UserError` where the model does not decide as it did at the end of training.

    A changed configuration or label order would otherwise be proven against itself.

    Args:
        checkpoint: the model.
        dev: the rows of `held_out(..., "dev")` with PyTorch's logits.
    """
    labelled, labels = dev.examples.labelled, checkpoint.training.labels
    found = decisions(labelled.task, dev.logits, labels, labelled.words())
    path = held_out(checkpoint.path, "dev")
    expected = [row.get("predicted") for row in _rows(path)]
    if len(expected) != len(found) or None in expected:
        raise UserError(f"{path} has rows without predictions; it was changed since training, train again")
    same = sum(_same(one, other) for one, other in zip(expected, found, strict=True))
    if len(found) - same > max(1, _MOST_OTHER * len(found)):
        raise UserError(
            f"{checkpoint.path} decides {same} of {len(found)} dev rows as it did after training; "
            "its files were changed since, train again"
        )


def _same(expected: object, found: object) -> bool:
    if isinstance(found, float):
        return isinstance(expected, int | float) and bool(np.isclose(expected, found, rtol=0.01, atol=0.01))
    return expected == found


def _rows(path: Path) -> list[dict[str, Any]]:
    reader = open_table(path)
    try:
        return [row for batch in reader.batches(1024) for row in batch.rows]
    finally:
        reader.close()
