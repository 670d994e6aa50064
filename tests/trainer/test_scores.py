"""Figures and reports."""

import numpy
import pytest

from bertwire_core.errors import UserError
from bertwire_data.labelled import outside_row
from bertwire_trainer.scores import measure, report

LOGITS = numpy.log(numpy.array([[0.8, 0.1, 0.1], [0.6, 0.3, 0.1], [0.1, 0.8, 0.1]], numpy.float32))
LABELS = numpy.array([0, 1, 1])


def test_scores() -> None:
    """Two of three right: one label with F1 2/3 each; the loss is the mean negative log probability."""
    scores = measure("single_label", LOGITS, LABELS, ["a", "b", "c"], None)
    loss = -numpy.log([0.8, 0.3, 0.8]).mean()
    assert scores == pytest.approx({"macro_f1": 2 / 3, "accuracy": 2 / 3, "loss": loss})


def test_report_names_the_labels_that_occur() -> None:
    """A label that neither occurs nor is predicted is not in the report."""
    text = report("single_label", LOGITS, LABELS, ["good", "bad", "unused"], None)
    assert "good" in text
    assert "unused" not in text


def test_divergence() -> None:
    """Outputs that are not finite stop training with what to do."""
    with pytest.raises(UserError, match=r"training diverged.*lower --learning-rate"):
        measure("single_label", numpy.array([[numpy.nan, 0.0]]), numpy.array([0]), ["a", "b"], None)


def test_loss_of_words_that_were_read() -> None:
    """The rows that stand for words that were cut off count as missed, and not in the loss."""
    labels = ["O", "B-x"]
    logits = numpy.stack([numpy.log([0.25, 0.75]).astype(numpy.float32), outside_row(labels)])
    scores = measure("token_classification", logits, numpy.array([1, 1]), labels, [2])
    assert scores == pytest.approx({"f1": 2 / 3, "precision": 1.0, "recall": 0.5, "loss": -numpy.log(0.75)})


def test_reports_of_every_task() -> None:
    """Labels and types of entities are reported by name; numbers have no report."""
    labels, targets = ["O", "B-x", "I-x"], numpy.array([1, 2, 0])
    assert " x " in report("token_classification", numpy.eye(3)[targets], targets, labels, [3])
    several = report(
        "multi_label", numpy.array([[1.0, -1.0, -1.0]]), numpy.array([[0, 1, 0]]), ["a", "b", "unused"], None
    )
    assert "a " in several
    assert "b " in several
    assert "unused" not in several
    assert report("regression", numpy.array([[1.0]]), numpy.array([1.0]), ["label"], None) == ""


def test_report_of_entities() -> None:
    """Of each type, `A` and `A-` apart, and of all entities: whole ones, by their exact words and type."""
    labels = ["O", "B-A", "I-A", "B-A-"]
    targets, predicted = numpy.array([1, 2, 0, 3, 1, 0]), numpy.array([1, 2, 0, 1, 1, 3])
    text = report("token_classification", numpy.eye(4)[predicted], targets, labels, [3, 3])
    rows = {line.rsplit(maxsplit=4)[0].strip(): line.split()[-4:] for line in text.splitlines()[2:] if line.strip()}
    assert rows["A"] == ["0.6667", "1.0000", "0.8000", "2"]
    assert rows["A-"] == ["0.0000", "0.0000", "0.0000", "1"]
    assert rows["micro avg"] == ["0.5000", "0.6667", "0.5714", "3"]
    assert "micro avg" in report("token_classification", numpy.eye(4)[targets], targets, labels, [3, 3])


def test_reports_of_nothing() -> None:
    """Where nothing is to be found and nothing was, the report says so."""
    assert "no text has a label" in report("multi_label", numpy.array([[-1.0]]), numpy.array([[0]]), ["a"], None)
    words = numpy.array([[1.0, 0.0]])
    assert "no text has an entity" in report("token_classification", words, numpy.array([0]), ["O", "B-x"], [1])
