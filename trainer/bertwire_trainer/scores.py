"""Measures predictions with scikit-learn."""

import numpy
from numpy.typing import NDArray

from bertwire_client.errors import UserError
from bertwire_trainer.record import Scores

Floats = NDArray[numpy.floating]
Ints = NDArray[numpy.integer]


def score(logits: Floats, label_ids: Ints) -> Scores:
    """Accuracy, macro-F1 and mean cross-entropy of `logits` [texts, labels] against `label_ids` [texts].

    Raises:
        UserError: a logit is not finite.
    """
    import torch
    from sklearn.metrics import accuracy_score, f1_score

    if not numpy.isfinite(logits).all():
        raise UserError("training diverged: the model's outputs are not finite; lower --learning-rate or use fp32")
    predicted = logits.argmax(axis=-1)
    loss = torch.nn.functional.cross_entropy(torch.from_numpy(logits).double(), torch.from_numpy(label_ids).long())
    return Scores(
        accuracy=float(accuracy_score(label_ids, predicted)),
        macro_f1=float(f1_score(label_ids, predicted, average="macro", zero_division=0)),
        loss=loss.item(),
    )


def report(logits: Floats, label_ids: Ints, labels: list[str]) -> str:
    """scikit-learn's classification report: precision, recall, F1 and rows of each label that occurs."""
    from sklearn.metrics import classification_report

    predicted = logits.argmax(axis=-1)
    present = sorted({*label_ids.tolist(), *predicted.tolist()})
    names = [labels[index] for index in present]
    return str(
        classification_report(label_ids, predicted, labels=present, target_names=names, digits=4, zero_division=0)
    )
