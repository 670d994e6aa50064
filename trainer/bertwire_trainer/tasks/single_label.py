"""One label for each text."""

from typing import TYPE_CHECKING, Any

from bertwire_core.errors import UserError
from bertwire_data.labelled import Labelled, label_order
from bertwire_trainer.tasks.cross_entropy import cross_entropy, divergence, softmax
from bertwire_trainer.tasks.spec import TaskSpec

if TYPE_CHECKING:
    import numpy
    from numpy.typing import NDArray


def _labels(train: Labelled) -> list[str]:
    labels = label_order(train.names(), train.task)
    if len(labels) < 2:
        raise UserError(f"{train.source} has one label only, {labels[0]!r}; classification needs at least two")
    return labels


def _similarity(targets: "NDArray[Any]", target: int) -> "NDArray[numpy.floating]":
    same: NDArray[numpy.floating] = (targets == target).astype("float32")
    return same


def _report(logits: "NDArray[Any]", targets: "NDArray[Any]", labels: list[str], _: list[int] | None) -> str:
    from sklearn.metrics import classification_report

    predicted = logits.argmax(axis=-1)
    present = sorted({*targets.tolist(), *predicted.tolist()})
    names = [labels[index] for index in present]
    return str(classification_report(targets, predicted, labels=present, target_names=names, digits=4, zero_division=0))


SINGLE_LABEL = TaskSpec(
    labels=_labels,
    loss=cross_entropy,
    mean=softmax,
    apart=divergence,
    report=_report,
    similarity=_similarity,
    problem_type="single_label_classification",
    noted=False,
    stratified=True,
    classes=True,
    class_weights=True,
    label_smoothing=True,
)
