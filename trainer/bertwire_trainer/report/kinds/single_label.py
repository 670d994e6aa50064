"""The report of one label a text."""

from collections.abc import Iterator
from typing import Any

import numpy
from numpy.typing import NDArray
from scipy.special import log_softmax

from bertwire_data.labelled import Labelled
from bertwire_data.pages.figures import Figures, of_classes
from bertwire_trainer.report.kinds.base import Case, Confidence, Doubts, Logits, columns_fit, probabilities, text_of


class SingleLabel:
    """One label a text."""

    score = "probability"

    def figures(self, rows: Labelled, logits: Logits, targets: NDArray[Any], labels: list[str]) -> Figures:  # noqa: ARG002
        """Return the confusion of the labels, and the scores of each."""
        return of_classes(targets, logits.argmax(axis=1), labels)

    def confidence(self, logits: Logits, targets: NDArray[Any], labels: list[str]) -> Confidence | None:  # noqa: ARG002
        """Return the probability of the best label, and whether it is the target."""
        return probabilities(logits).max(axis=1), logits.argmax(axis=1) == targets

    def cases(
        self, rows: Labelled, logits: Logits, targets: NDArray[Any], labels: list[str], *, right: bool
    ) -> Iterator[Case]:
        """Yield the texts whose best label is, or is not, the target."""
        scores, decided = probabilities(logits).max(axis=1), logits.argmax(axis=1)
        chosen = numpy.flatnonzero((decided == targets) == right)
        for place in chosen[numpy.argsort(-scores[chosen], kind="stable")].tolist():
            best = int(decided[place])
            text, true = text_of(rows.inputs[place]), labels[targets[place]]
            yield Case(place, text, true, labels[best], float(scores[place]), best)

    def doubts(self, logits: Logits, targets: NDArray[Any], labels: list[str]) -> Doubts:
        """Return confident learning's suspects, ranked by the probability of the given label."""
        from cleanlab.filter import find_label_issues
        from cleanlab.rank import get_label_quality_scores

        scores = probabilities(logits)
        quality = get_label_quality_scores(targets, scores)
        # One process: more are slower to start than this takes.
        suspect = find_label_issues(targets, scores, n_jobs=1)
        names = [labels[each] for each in targets], [labels[each] for each in scores.argmax(axis=1)]
        return Doubts(quality, suspect, *names)

    def joined(self, one: Logits, other: Logits) -> Logits:
        """Return the mean log-probability; of models of one label each, their probabilities in proportion."""
        alone = -numpy.logaddexp(0, -other.astype(numpy.float64))
        mean: Logits = (log_softmax(one.astype(numpy.float64), axis=1) + log_softmax(alone, axis=1)) / 2
        return mean

    def fit(self, inputs: Any, targets: NDArray[Any], labels: list[str]) -> Any:  # noqa: ANN401
        """Fit one logistic regression for each label."""
        return columns_fit(inputs, numpy.eye(len(labels))[targets])
