"""The report of any number of labels a text."""

from collections.abc import Iterator
from typing import Any

import numpy
from numpy.typing import NDArray
from scipy.special import expit

from bertwire_data.labelled import Labelled, decisions, present
from bertwire_data.pages.figures import Figures, of_labels
from bertwire_trainer.report.kinds.base import Case, Confidence, Doubts, Logits, columns_fit, text_of


class MultiLabel:
    """Any number of labels a text; each is a decision of its own."""

    score = "probability"

    def figures(self, rows: Labelled, logits: Logits, targets: NDArray[Any], labels: list[str]) -> Figures:  # noqa: ARG002
        """Return the scores of each label."""
        return of_labels(targets > 0, present(logits, None), labels)

    def confidence(self, logits: Logits, targets: NDArray[Any], labels: list[str]) -> Confidence | None:  # noqa: ARG002
        """Return the probability of each label of each text, and whether the text has it."""
        return expit(logits.astype(numpy.float64)).reshape(-1), targets.reshape(-1) > 0

    def cases(
        self, rows: Labelled, logits: Logits, targets: NDArray[Any], labels: list[str], *, right: bool
    ) -> Iterator[Case]:
        """Yield the labels that are wrong, given or missing; or those that are given and right."""
        chosen, true = present(logits, None), targets > 0
        scores = expit(numpy.where(chosen, logits, -logits).astype(numpy.float64))
        wanted = chosen & true if right else chosen != true
        places, outputs = numpy.nonzero(wanted)
        for at in numpy.argsort(-scores[wanted], kind="stable").tolist():
            place, output = int(places[at]), int(outputs[at])
            truth, said = (_named(labels[output], bool(each[place, output])) for each in (true, chosen))
            yield Case(place, text_of(rows.inputs[place]), truth, said, float(scores[place, output]), output)

    def doubts(self, logits: Logits, targets: NDArray[Any], labels: list[str]) -> Doubts:
        """Return confident learning's suspects, ranked by the probabilities of the given labels."""
        from cleanlab.multilabel_classification import get_label_quality_scores
        from cleanlab.multilabel_classification.filter import find_label_issues

        scores = expit(logits.astype(numpy.float64))
        given = [numpy.flatnonzero(row).tolist() for row in targets > 0]
        suspect = find_label_issues(given, scores, n_jobs=1)
        names = [", ".join(labels[each] for each in row) for row in given]
        suggested = [", ".join(row) for row in decisions("multi_label", logits, labels)]
        return Doubts(get_label_quality_scores(given, scores), suspect, names, suggested)

    def joined(self, one: Logits, other: Logits) -> Logits:
        """Return the mean log-odds."""
        return (one + other) / 2

    def fit(self, inputs: Any, targets: NDArray[Any], labels: list[str]) -> Any:  # noqa: ANN401, ARG002
        """Fit one logistic regression for each label."""
        return columns_fit(inputs, targets)


def _named(label: str, there: bool) -> str:
    return label if there else f"not {label}"
