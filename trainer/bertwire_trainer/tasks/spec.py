"""What training does differently for each task."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from bertwire_data.labelled import Labelled

if TYPE_CHECKING:
    import numpy
    import torch
    from numpy.typing import NDArray

    Loss = Callable[[torch.Tensor, torch.Tensor, torch.Tensor | None, float], torch.Tensor]
    Apart = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
    Mean = Callable[[torch.Tensor], torch.Tensor]
    Prior = Callable[[NDArray[Any]], NDArray[numpy.float64]]
    Similarity = Callable[[NDArray[Any], Any], NDArray[numpy.floating]]
    Report = Callable[[NDArray[numpy.floating], NDArray[Any], list[str], list[int] | None], str]


def no_report(*_: object) -> str:
    """Return the report of a task that has no labels to report: an empty string."""
    return ""


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskSpec:
    """The pieces of one task.

    Attributes:
        labels: return the label names in id order; raise `UserError` where train has nothing to tell apart.
        loss: return the summed loss, a scalar, of logits [..., labels] and targets as a batch of `TokenDataset` has
            them, with class weights [labels] or None and the label smoothing in [0, 1).
        mean: return the mean, [..., labels], of the distribution that logits stand for: probabilities, or the number.
        apart: return how far logits are from the means of a teacher, [...] of [..., labels] each: the KL divergence of
            what the logits stand for from the teacher's distribution, or for a number the squared error.
        report: return the precision, recall, F1 and count of each label that occurs, for people; arguments as for
            `bertwire_trainer.scores.report`.
        prior: return the bias, float64 [labels], with which a new head predicts the prior of encoded targets; None: the
            head starts at 0.
        similarity: return the similarity of encoded targets [texts, ...] to one of them, floats [texts]: 1 for the same
            labels, 0 for none in common; None: the task has no labels of whole texts.
        problem_type: field `problem_type` of config.json.
        by_word: whether each word has a target; else each text has one.
        noted: whether the user is told when the task was read off the columns.
        stratified: whether the cut of dev keeps the share of each label.
        classes: whether each whole text has exactly one label, its class.
        class_weights: whether `--class-weights` applies.
        label_smoothing: whether `--label-smoothing` applies.
    """

    labels: Callable[[Labelled], list[str]]
    loss: "Loss"
    mean: "Mean"
    apart: "Apart"
    report: "Report" = no_report
    prior: "Prior | None" = None
    similarity: "Similarity | None" = None
    problem_type: str | None = None
    by_word: bool = False
    noted: bool = True
    stratified: bool = False
    classes: bool = False
    class_weights: bool = False
    label_smoothing: bool = False
