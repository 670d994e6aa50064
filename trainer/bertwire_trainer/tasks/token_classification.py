"""One IOB2 tag for each word."""

from typing import TYPE_CHECKING, Any

from bertwire_core.errors import UserError
from bertwire_core.tags import NONE, paired
from bertwire_core.tasks import Task
from bertwire_data.labelled import Labelled, decisions, label_order
from bertwire_trainer.tasks.cross_entropy import cross_entropy, divergence, softmax
from bertwire_trainer.tasks.spec import TaskSpec

if TYPE_CHECKING:
    from numpy.typing import NDArray

_TASK: Task = "token_classification"


def _labels(train: Labelled) -> list[str]:
    labels = label_order(train.names(), train.task)
    if len(labels) < 2:
        raise UserError(f"{train.source} has the tag 'O' only; token classification needs an entity")
    return labels


def _report(logits: "NDArray[Any]", targets: "NDArray[Any]", labels: list[str], words: list[int] | None) -> str:
    import numpy
    from sklearn.metrics import classification_report

    true, found = paired(
        decisions(_TASK, numpy.eye(len(labels))[targets], labels, words), decisions(_TASK, logits, labels, words)
    )
    if not true:
        return "no text has an entity, and none was found"
    kinds = label_order({*true, *found} - {NONE})
    # A place without an entity on either side changes no figure, and has scikit-learn print the mean over all entities,
    # which it otherwise calls accuracy where every place is of a type in `kinds`.
    both = ([*true, NONE], [*found, NONE])
    return str(classification_report(*both, labels=kinds, digits=4, zero_division=0))


TOKEN_CLASSIFICATION = TaskSpec(
    labels=_labels,
    loss=cross_entropy,
    mean=softmax,
    apart=divergence,
    report=_report,
    by_word=True,
    label_smoothing=True,
)
