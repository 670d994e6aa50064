"""Any number of labels for each text."""

from typing import TYPE_CHECKING, Any, cast

from bertwire_core.errors import UserError
from bertwire_data.labelled import Labelled, label_order
from bertwire_trainer.tasks.spec import TaskSpec

if TYPE_CHECKING:
    import numpy
    import torch
    from numpy.typing import NDArray


def _labels(train: Labelled) -> list[str]:
    labels = label_order(train.names(), train.task)
    if not labels:
        raise UserError(f"{train.source} has no text with a label; there is nothing to learn")
    if all(set(labels) == set(each) for each in cast(list[list[str]], train.targets)):
        raise UserError(f"{train.source} has the same labels for every text; there is nothing to tell apart")
    return labels


def _loss(
    logits: "torch.Tensor", targets: "torch.Tensor", _: "torch.Tensor | None", smoothing: float
) -> "torch.Tensor":
    import torch

    # Each label is a choice of two, present or not, over which the mass is spread.
    smooth = targets.float() * (1 - smoothing) + smoothing / 2
    return torch.nn.functional.binary_cross_entropy_with_logits(logits, smooth, reduction="sum")


def _probabilities(logits: "torch.Tensor") -> "torch.Tensor":
    return logits.sigmoid()


def _divergence(logits: "torch.Tensor", means: "torch.Tensor") -> "torch.Tensor":
    """Return the sum over the labels of the KL divergences of being there or not."""
    import torch

    entropy: torch.Tensor = torch.special.xlogy(means, means) + torch.special.xlogy(1 - means, 1 - means)
    crossed = torch.nn.functional.binary_cross_entropy_with_logits(logits, means, reduction="none")
    return (entropy + crossed).sum(dim=-1)


def _log_odds(targets: "NDArray[Any]") -> "NDArray[numpy.float64]":
    import numpy

    # Half a text is added to each count, so that the log-odds of a label that every text has are finite.
    share = (targets.sum(axis=0, dtype=numpy.float64) + 0.5) / (len(targets) + 1)
    odds: NDArray[numpy.float64] = numpy.log(share / (1 - share))
    return odds


def _similarity(targets: "NDArray[Any]", target: "NDArray[Any]") -> "NDArray[numpy.floating]":
    """Return the Jaccard index: labels in common, of those of either; of two texts without labels 1."""
    import numpy

    shared, either = ((each(targets, target) > 0).sum(axis=1) for each in (numpy.minimum, numpy.maximum))
    index: NDArray[numpy.floating] = numpy.where(either > 0, shared / numpy.maximum(either, 1), 1.0)
    return index.astype(numpy.float32)


def _report(logits: "NDArray[Any]", targets: "NDArray[Any]", labels: list[str], _: list[int] | None) -> str:
    import numpy
    from sklearn.metrics import classification_report

    true, chosen = targets > 0, logits >= 0
    present = numpy.flatnonzero((chosen | true).any(axis=0))
    if not present.size:
        return "no text has a label, and none was given one"
    names = [labels[index] for index in present]
    return str(
        classification_report(
            true[:, present],
            chosen[:, present],
            labels=range(len(names)),
            target_names=names,
            digits=4,
            zero_division=0,
        )
    )


MULTI_LABEL = TaskSpec(
    labels=_labels,
    loss=_loss,
    mean=_probabilities,
    apart=_divergence,
    report=_report,
    prior=_log_odds,
    similarity=_similarity,
    problem_type="multi_label_classification",
    label_smoothing=True,
)
