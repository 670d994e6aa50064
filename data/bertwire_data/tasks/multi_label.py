"""Rows with any number of labels a text."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from bertwire_data.columns import LABEL, Columns
from bertwire_data.tasks.base import Metrics, Target, TextRows
from bertwire_data.tasks.cells import read_labels

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from bertwire_data.labelled.survey import Survey

DEFAULT_THRESHOLD = 0.5


class MultiLabel(TextRows):
    """Any number of labels a text, or none."""

    label_column = "labels"
    metrics: Metrics = (("micro_f1", "micro-F1"), ("macro_f1", "macro-F1"), ("subset_accuracy", "all labels right"))

    def matches(self, survey: "Survey", columns: Columns) -> bool:
        """Return whether the chosen label column holds lists, or without one `labels` does beside no `label`."""
        if columns.label is not None:
            return survey.holds_lists(columns.label)
        return not survey.has(columns.text, LABEL) and survey.holds_lists(self.label_column)

    def read_target(self, value: object, column: str, *, delimited: bool) -> Target:
        """Return the distinct names of the labels."""
        return read_labels(value, column, delimited=delimited)

    def encode(self, targets: Sequence[list[str]], ids: dict[str, int]) -> "NDArray[Any]":
        """Return float32 [texts, labels], 1 for a label of the text, else 0."""
        import numpy

        marks = numpy.zeros((len(targets), len(ids)), numpy.float32)
        for mark, names in zip(marks, targets, strict=True):
            mark[[ids[name] for name in names]] = 1
        return marks

    def decide(
        self,
        logits: "NDArray[Any]",
        labels: list[str],
        words: list[int] | None,  # noqa: ARG002 - of the interface
        thresholds: Sequence[float] | None,
    ) -> list[Any]:
        """Return the labels of each text that reach their thresholds."""
        chosen = present(logits, thresholds)
        return [[label for label, on in zip(labels, row, strict=True) if on] for row in chosen]

    def score(
        self,
        logits: "NDArray[Any]",
        targets: "NDArray[Any]",
        labels: list[str],  # noqa: ARG002
        words: list[int] | None,  # noqa: ARG002
        thresholds: Sequence[float] | None,
    ) -> dict[str, float]:
        """Return micro-F1, macro-F1 over the labels that occur, and the share of texts with all labels right."""
        import numpy
        from sklearn.metrics import accuracy_score, f1_score

        # scikit-learn takes a single column for two classes; beside a label that never occurs it is one label.
        true, chosen = (
            numpy.pad(each, ((0, 0), (0, 1))) for each in (targets > DEFAULT_THRESHOLD, present(logits, thresholds))
        )
        # A label that occurs neither as target nor as decision has no F1 and is left out of the mean.
        macro = numpy.nan_to_num(f1_score(true, chosen, average="macro", zero_division=numpy.nan))
        return {
            "micro_f1": float(f1_score(true, chosen, average="micro", zero_division=0)),
            "macro_f1": float(macro),
            "subset_accuracy": float(accuracy_score(true, chosen)),
        }


def present(logits: "NDArray[Any]", thresholds: Sequence[float] | None) -> "NDArray[Any]":
    """Return which labels a multi_label model chooses, bool [texts, labels]: where the sigmoid reaches the threshold.

    Args:
        logits: floats [texts, labels].
        thresholds: one a label, each within [0, 1]; None: 0.5 for all.
    """
    import numpy
    from scipy.special import expit

    limits = DEFAULT_THRESHOLD if thresholds is None else numpy.asarray(thresholds, numpy.float64)
    chosen: NDArray[Any] = expit(logits.astype(numpy.float64)) >= limits
    return chosen
