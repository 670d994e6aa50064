"""The interface of a task's report, and what the tasks with labels of whole texts have in common."""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple, Protocol

import numpy
from numpy.typing import NDArray

from bertwire_data.labelled import Labelled
from bertwire_data.pages.figures import Figures

Logits = NDArray[numpy.floating]
Confidence = tuple[NDArray[numpy.floating], NDArray[numpy.bool_]]

# Inverse strength of the penalty on TF-IDF vectors, which have length 1. At 1, scikit-learn's own, accuracy on
# banking77 is 0.855, not 0.894.
_INVERSE_STRENGTH = 10.0
# Logit of a label that all texts of train have; its negative of one that none has.
_ALWAYS = 20.0


class Case(NamedTuple):
    """One decision about a row.

    Attributes:
        place: the row's place in its split.
        text: what a reader needs to see of the row.
        true: what the row says.
        decided: what the model says.
        score: the probability that the model gives its decision; for numbers the distance.
        output: the logit that the decision is about.
    """

    place: int
    text: str
    true: str
    decided: str
    score: float
    output: int


class Doubts(NamedTuple):
    """How far each row's label is to be trusted.

    Attributes:
        quality: floats [rows], the lowest for the rows that most likely have a wrong label.
        suspect: bool [rows], whether the label is likely wrong.
        given: the label of each row in words.
        suggested: the label that the other rows suggest.
    """

    quality: NDArray[numpy.floating]
    suspect: NDArray[numpy.bool_]
    given: Sequence[str]
    suggested: Sequence[str]


class Kind(Protocol):
    """The pieces of one task. Stateless. Targets are as `encode_targets` gives them.

    Attributes:
        score: the name of `Case.score` in print.
    """

    score: str

    def figures(self, rows: Labelled, logits: Logits, targets: NDArray[Any], labels: list[str]) -> Figures:
        """Return what is shown of the decisions."""

    def confidence(self, logits: Logits, targets: NDArray[Any], labels: list[str]) -> Confidence | None:
        """Return the probability of each decision and whether it is right, both [decisions]; None without."""

    def cases(
        self, rows: Labelled, logits: Logits, targets: NDArray[Any], labels: list[str], *, right: bool
    ) -> Iterator[Case]:
        """Yield the decisions that are right, or those that are wrong, the most confident first."""

    def doubts(self, logits: Logits, targets: NDArray[Any], labels: list[str]) -> Doubts:
        """Return the doubts about targets, by logits of a model that has not seen them. Not for a task by word."""

    def joined(self, one: Logits, other: Logits) -> Logits:
        """Return the logits of two models together: of a layer by `fit_linear`, and of what `fit` returns."""

    def fit(self, inputs: Any, targets: NDArray[Any], labels: list[str]) -> Any:  # noqa: ANN401 - sparse, and a callable
        """Return a function from a sparse matrix [texts, terms] to logits [texts, labels], fitted to that of train.

        Not for a task by word.
        """


def text_of(given: Any) -> str:  # noqa: ANN401 - an input of `Labelled`
    """Return an input as one text."""
    return given if isinstance(given, str) else " | ".join(given) if isinstance(given, tuple) else " ".join(given)


def probabilities(logits: Logits) -> NDArray[numpy.float64]:
    """Return the softmax of logits [rows, labels]."""
    from scipy.special import softmax

    found: NDArray[numpy.float64] = softmax(logits.astype(numpy.float64), axis=1)
    return found


def columns_fit(inputs: Any, marks: NDArray[Any]) -> Any:  # noqa: ANN401 - sparse matrices have no common type
    """Return a function from a matrix to logits, of one logistic regression for each column of `marks`, 0 or 1."""
    from sklearn.linear_model import LogisticRegression

    # A label that every text has, or none, has nothing to learn.
    models = [
        LogisticRegression(C=_INVERSE_STRENGTH, solver="liblinear").fit(inputs, mark)
        if 0 < mark.sum() < len(mark)
        else _ALWAYS * (2 * float(mark.any()) - 1)
        for mark in (marks > 0).T
    ]

    def decide(matrix: Any) -> Logits:  # noqa: ANN401
        rows = matrix.shape[0]
        found = [
            numpy.full(rows, each) if isinstance(each, float) else each.decision_function(matrix) for each in models
        ]
        return numpy.stack(found, axis=1)

    return decide
