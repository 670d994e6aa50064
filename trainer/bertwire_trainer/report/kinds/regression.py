"""The report of a number a text."""

from collections.abc import Iterator
from typing import Any

import numpy
from numpy.typing import NDArray

from bertwire_data.labelled import Labelled
from bertwire_data.pages.figures import Figures
from bertwire_trainer.report.kinds.base import Case, Confidence, Doubts, Logits, text_of

# Standard deviations of the errors from which a number is suspect. With half as many every third row would be.
_FAR = 3.0


class Regression:
    """A number a text."""

    score = "error"

    def figures(self, rows: Labelled, logits: Logits, targets: NDArray[Any], labels: list[str]) -> Figures:  # noqa: ARG002
        """Return the true and the predicted numbers."""
        return Figures(scatter=(targets, logits.reshape(-1)))

    def confidence(self, logits: Logits, targets: NDArray[Any], labels: list[str]) -> Confidence | None:
        """Return None: a number is no probability."""

    def cases(
        self,
        rows: Labelled,
        logits: Logits,
        targets: NDArray[Any],
        labels: list[str],  # noqa: ARG002
        *,
        right: bool,
    ) -> Iterator[Case]:
        """Yield the texts with the smallest errors, or with the largest, first."""
        predicted = logits.reshape(-1)
        errors = numpy.abs(predicted - targets)
        for place in numpy.argsort(errors if right else -errors, kind="stable").tolist():
            numbers = f"{targets[place]:.4g}", f"{predicted[place]:.4g}"
            yield Case(place, text_of(rows.inputs[place]), *numbers, float(errors[place]), 0)

    def doubts(self, logits: Logits, targets: NDArray[Any], labels: list[str]) -> Doubts:  # noqa: ARG002
        """Return cleanlab's quality of the numbers; suspect are those far from what is predicted."""
        from cleanlab.regression.rank import get_label_quality_scores

        predicted = logits.reshape(-1).astype(numpy.float64)
        errors = numpy.abs(predicted - targets)
        names = [f"{each:.4g}" for each in targets], [f"{each:.4g}" for each in predicted]
        return Doubts(get_label_quality_scores(targets, predicted), errors > _FAR * errors.std(), *names)

    def joined(self, one: Logits, other: Logits) -> Logits:
        """Return the mean number."""
        return (one + other) / 2

    def fit(self, inputs: Any, targets: NDArray[Any], labels: list[str]) -> Any:  # noqa: ANN401, ARG002
        """Fit a ridge regression."""
        from sklearn.linear_model import Ridge

        model = Ridge().fit(inputs, targets)
        return lambda matrix: model.predict(matrix)[:, None]
