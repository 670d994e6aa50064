"""How unsure a model is of a text, which texts a batch is chosen from, and how they differ."""

import numpy
import pytest

from bertwire_core.tasks import Task
from bertwire_data.labelled import outside_row
from bertwire_trainer.labelling.config import Measure
from bertwire_trainer.labelling.select import candidates, diverse
from bertwire_trainer.labelling.uncertainty import doubt, probabilities

LABELS = ["O", "B-x", "I-x"]
CUT = outside_row(LABELS).tolist()
TAGS = [[9, 0, 0], [1, 1, 0], [9, 0, 0], CUT, CUT]


@pytest.mark.parametrize(
    ("task", "measure", "logits", "words", "uncertainty", "confidence"),
    [
        ("single_label", "margin", [[0, 0], [numpy.log(3), 0]], None, [1, 0.5], [0.5, 0.75]),
        ("single_label", "entropy", [[0, 0], [numpy.log(3), 0]], None, [1, 0.8113], [0.5, 0.75]),
        # The least certain label, and the mean over the labels.
        ("multi_label", "margin", [[0, -numpy.log(3)], [99, -99]], None, [1, 0], [0.5, 1]),
        ("multi_label", "entropy", [[0, -numpy.log(3)], [99, -99]], None, [0.9056, 0], [0.5, 1]),
        # The least certain word; words that were cut off do not count.
        ("token_classification", "margin", TAGS, [2, 2, 1], [1, 0.0002, 0], [0.4223, 0.9998, 1]),
        ("token_classification", "entropy", TAGS, [2, 2, 1], [0.4641, 0.0023, 0], [0.4223, 0.9998, 1]),
    ],
)
def test_uncertainty(
    task: Task,
    measure: Measure,
    logits: list[list[float]],
    words: list[int] | None,
    uncertainty: list[float],
    confidence: list[float],
) -> None:
    """1 where all decisions are open, 0 where none is; the confidence is that in the least certain decision."""
    of = probabilities(task)
    assert of is not None
    found = doubt(of, numpy.array(logits, numpy.float32), LABELS, words, measure)
    assert found.uncertainty == pytest.approx(uncertainty, abs=2e-4)
    assert found.confidence == pytest.approx(confidence, abs=2e-4)


@pytest.mark.parametrize(
    ("texts", "count", "size"),
    # Ten times the batch; a third of all; the batch itself; and all, where there are fewer.
    [(1000, 10, 100), (90, 10, 30), (12, 10, 10), (5, 10, 5)],
)
def test_candidates(texts: int, count: int, size: int) -> None:
    """A batch is chosen among the most uncertain texts; a pool in which none differ is taken whole."""
    uncertainty = numpy.random.default_rng(0).permutation(texts).astype(float)
    assert candidates(uncertainty, count) == numpy.argsort(-uncertainty)[:size].tolist()
    assert candidates(numpy.zeros(texts), count) == list(range(texts))


def circle(places: list[int]) -> numpy.ndarray:
    """Vectors of length 1 in directions that are multiples of a tenth of a degree."""
    angles = numpy.deg2rad(numpy.array(places) / 10)
    return numpy.stack([numpy.cos(angles), numpy.sin(angles)], axis=1)


def test_diverse() -> None:
    """One text of each cluster, that in its middle, the largest first; clusters with labelled texts are passed over."""
    vectors = circle([0, 1, 2, 900, 901, 902, 903, 904, 1800, 1801, 1802, 1803])
    chosen = diverse(vectors, 3, seed=0)
    assert (chosen[0], chosen[2]) == (5, 1)
    assert chosen[1] in (9, 10)
    assert diverse(vectors, 2, seed=0, known=circle([905]))[0] in (9, 10)
    assert 1 in diverse(vectors, 2, seed=0, known=circle([905]))


def test_texts_that_are_all_the_same() -> None:
    """As many as asked for come all the same, none twice."""
    assert sorted(diverse(numpy.ones((5, 2)), 3, seed=0, known=numpy.ones((1, 2)))) == [0, 1, 2]
