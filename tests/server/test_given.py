"""Which labels an observer is told were given, for each task."""

from typing import Any

import numpy as np
import pytest

from bertwire_runtime.bundle import Manifest
from bertwire_runtime.bundle.manifest import Calibration
from bertwire_server.model.given import Given, labels_given
from bertwire_server.model.observer import Unobserved
from bertwire_server.query import Prediction


class Told(Unobserved):
    """Keeps the labels it is told."""

    def __init__(self) -> None:
        self.labels: list[tuple[str, float]] = []

    def predicted(self, label: str, confidence: float) -> None:
        """Keeps it."""
        self.labels.append((label, round(confidence, 3)))


def prediction(scores: object, words: tuple[tuple[int, int, int], ...] = ()) -> Prediction:
    """An answer with these scores."""
    array = np.array(scores, np.float32)
    return Prediction(array, array, words, 3, False, 0.0, 0.0, 0.0)


def manifest(task: str, labels: tuple[str, ...], thresholds: tuple[float, ...]) -> Manifest:
    """What a bundle says of its labels, and nothing else."""
    whole: Any = Manifest
    part: Any = Calibration
    made: Manifest = whole.model_construct(
        task=task, labels=labels, calibration=part.model_construct(thresholds=thresholds)
    )
    return made


TAGS = ("O", "B-PER", "I-PER", "B-LOC")
# Token 1 begins no word: it is the second part of the word that begins a person's name.
TOKENS = [[0, 0.9, 0, 0.1], [0, 0, 0, 1], [0.1, 0, 0.9, 0], [1, 0, 0, 0], [0.4, 0, 0, 0.6], [0, 0.7, 0.3, 0]]
WORDS = ((0, 0, 5), (2, 6, 9), (3, 10, 12), (4, 13, 15), (5, 16, 19))


@pytest.mark.parametrize(
    ("task", "labels", "given", "expected", "known"),
    [
        ("single_label", ("a", "b"), prediction([0.2, 0.8]), [("b", 0.8)], ("a", "b")),
        ("multi_label", ("a", "b", "c"), prediction([0.3, 0.5, 0.9]), [("b", 0.5), ("c", 0.9)], ("a", "b", "c")),
        ("multi_label", ("a", "b", "c"), prediction([0.1, 0.2, 0.3]), [], ("a", "b", "c")),
        ("regression", ("stars",), prediction([4.2]), [], ()),
        (
            "token_classification",
            TAGS,
            prediction(TOKENS, WORDS),
            [("PER", 0.9), ("LOC", 0.6), ("PER", 0.7)],
            ("PER", "LOC"),
        ),
        ("token_classification", TAGS, prediction(TOKENS), [], ("PER", "LOC")),
    ],
)
def test_labels_given(
    task: str,
    labels: tuple[str, ...],
    given: Prediction,
    expected: list[tuple[str, float]],
    known: tuple[str, ...],
) -> None:
    """The best label, those over their thresholds, the beginnings of entities, or none; all of them known before."""
    thresholds = (0.4, 0.5, 0.6)[: len(labels)] if task == "multi_label" else ()
    told = Told()
    Given(manifest(task, labels, thresholds), told).tell(given)
    assert told.labels == expected
    assert labels_given(manifest(task, labels, thresholds)) == known
