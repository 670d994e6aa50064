"""Figures and reports."""

import numpy
import pytest

from bertwire_client.errors import UserError
from bertwire_trainer.scores import report, score

LOGITS = numpy.log(numpy.array([[0.8, 0.1, 0.1], [0.6, 0.3, 0.1], [0.1, 0.8, 0.1]], numpy.float32))
LABELS = numpy.array([0, 1, 1])


def test_scores() -> None:
    """Two of three right: one label with F1 2/3 each; the loss is the mean negative log probability."""
    scores = score(LOGITS, LABELS)
    assert (scores.accuracy, scores.macro_f1) == pytest.approx((2 / 3, 2 / 3))
    assert scores.loss == pytest.approx(-numpy.log([0.8, 0.3, 0.8]).mean())


def test_report_names_the_labels_that_occur() -> None:
    """A label that neither occurs nor is predicted is not in the report."""
    text = report(LOGITS, LABELS, ["good", "bad", "unused"])
    assert "good" in text
    assert "unused" not in text


def test_divergence() -> None:
    """Outputs that are not finite stop training with what to do."""
    with pytest.raises(UserError, match=r"training diverged.*lower --learning-rate"):
        score(numpy.array([[numpy.nan, 0.0]]), numpy.array([0]))
