"""Rows with a number a text."""

import math
import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from bertwire_data.columns import LABEL, Columns
from bertwire_data.tasks.base import Metrics, Target, TextRows
from bertwire_data.tasks.cells import read_number

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from bertwire_data.labelled.survey import Survey


class Regression(TextRows):
    """A number a text."""

    metrics: Metrics = (
        ("pearson", "Pearson correlation"),
        ("spearman", "Spearman correlation"),
        ("mae", "mean absolute error"),
    )

    def matches(self, survey: "Survey", columns: Columns) -> bool:
        """Return whether all labels are numbers and one has a fraction: whole numbers are more often classes."""
        return survey.holds_fractions(columns.label or LABEL)

    def read_target(self, value: object, column: str, *, delimited: bool) -> Target:
        """Return the number."""
        return read_number(value, column, delimited=delimited)

    def encode(self, targets: Sequence[float], ids: dict[str, int]) -> "NDArray[Any]":  # noqa: ARG002 - of the interface
        """Return float64 [texts]."""
        import numpy

        return numpy.asarray(targets, numpy.float64)

    def decide(
        self,
        logits: "NDArray[Any]",
        labels: list[str],  # noqa: ARG002
        words: list[int] | None,  # noqa: ARG002
        thresholds: Sequence[float] | None,  # noqa: ARG002
    ) -> list[Any]:
        """Return the logit of each text."""
        return [float(value) for value in logits.reshape(-1)]

    def score(
        self,
        logits: "NDArray[Any]",
        targets: "NDArray[Any]",
        labels: list[str],  # noqa: ARG002
        words: list[int] | None,  # noqa: ARG002
        thresholds: Sequence[float] | None,  # noqa: ARG002
    ) -> dict[str, float]:
        """Return Pearson and Spearman correlation, 0 where either side is constant, and the mean absolute error."""
        import numpy
        from scipy.stats import rankdata
        from sklearn.metrics import mean_absolute_error

        predicted = logits.reshape(-1).astype(numpy.float64)
        return {
            "pearson": _correlation(predicted, targets),
            "spearman": _correlation(rankdata(predicted), rankdata(targets)),
            "mae": float(mean_absolute_error(targets, predicted)),
        }


def _correlation(one: "NDArray[Any]", other: "NDArray[Any]") -> float:
    """Return Pearson's correlation, 0 where scipy has none."""
    from scipy.stats import pearsonr

    if one.min() == one.max() or other.min() == other.max():
        return 0.0
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of numbers that hardly vary, whose correlation is inexact
        found = float(pearsonr(one, other).statistic)
    return 0.0 if math.isnan(found) else found
