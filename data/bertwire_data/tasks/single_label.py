"""Rows with one label a text."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from bertwire_data.columns import Columns
from bertwire_data.tasks.base import Metrics, Target, TextRows
from bertwire_data.tasks.cells import read_label

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from bertwire_data.labelled.survey import Survey


class SingleLabel(TextRows):
    """One label a text: its class."""

    metrics: Metrics = (("macro_f1", "macro-F1"), ("accuracy", "accuracy"))

    def matches(self, survey: "Survey", columns: Columns) -> bool:  # noqa: ARG002 - of the interface
        """Return True: rows that no other task matches are of this one."""
        return True

    def read_target(self, value: object, column: str, *, delimited: bool) -> Target:  # noqa: ARG002
        """Return the label's name."""
        return read_label(value, column)

    def encode(self, targets: Sequence[str], ids: dict[str, int]) -> "NDArray[Any]":
        """Return int64 [texts]."""
        import numpy

        return numpy.fromiter((ids[name] for name in targets), numpy.int64)

    def decide(
        self,
        logits: "NDArray[Any]",
        labels: list[str],
        words: list[int] | None,  # noqa: ARG002
        thresholds: Sequence[float] | None,  # noqa: ARG002
    ) -> list[Any]:
        """Return the label with the largest logit of each text."""
        return [labels[index] for index in logits.argmax(axis=-1)]

    def score(
        self,
        logits: "NDArray[Any]",
        targets: "NDArray[Any]",
        labels: list[str],  # noqa: ARG002
        words: list[int] | None,  # noqa: ARG002
        thresholds: Sequence[float] | None,  # noqa: ARG002
    ) -> dict[str, float]:
        """Return macro-F1 over the labels that occur, as target or as decision, and accuracy."""
        from sklearn.metrics import accuracy_score, f1_score

        best = logits.argmax(axis=-1)
        macro = f1_score(targets, best, average="macro", zero_division=0)
        return {"macro_f1": float(macro), "accuracy": float(accuracy_score(targets, best))}
