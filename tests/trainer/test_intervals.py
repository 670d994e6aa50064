"""95% intervals of scores."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy
import pytest
from scipy.stats import bootstrap

from bertwire_data.labelled import score
from bertwire_trainer.trust.intervals import intervals, wilson

Run = Callable[..., Path]


def test_wilson() -> None:
    """Known values, of statsmodels' and R's Wilson intervals without continuity correction."""
    assert wilson(16, 16) == pytest.approx((0.80639, 1.0), abs=1e-5)
    assert wilson(45, 50) == pytest.approx((0.78640, 0.95652), abs=1e-5)
    assert wilson(0, 10) == pytest.approx((0.0, 0.27753), abs=1e-5)


def test_f1_is_bootstrapped() -> None:
    """The ends of macro-F1 are scipy's percentile bootstrap, but for chance; accuracy has Wilson's."""
    generator = numpy.random.default_rng(1)
    targets = generator.integers(0, 2, 120)
    decided = numpy.where(generator.random(120) < 0.8, targets, 1 - targets)
    logits = numpy.eye(2)[decided]
    found = intervals("single_label", logits, targets, ["a", "b"], None, 0)

    def macro(rows: numpy.ndarray) -> float:
        return score("single_label", logits[rows], targets[rows], ["a", "b"])["macro_f1"]

    expected = bootstrap(
        (numpy.arange(120),), macro, n_resamples=1000, vectorized=False, method="percentile", rng=2
    ).confidence_interval
    assert found["macro_f1"] == pytest.approx((expected.low, expected.high), abs=0.015)
    assert found["accuracy"] == wilson(int((decided == targets).sum()), 120)
    assert intervals("single_label", logits, targets, ["a", "b"], None, 0) == found


def test_all_right_is_not_certain() -> None:
    """Where no row is wrong the interval is not a point."""
    targets = numpy.array([0, 1] * 8)
    found = intervals("single_label", numpy.eye(2)[targets], targets, ["a", "b"], None, 0)
    assert found["macro_f1"] == pytest.approx((0.80639, 1.0), abs=1e-5)


def test_recorded_and_printed(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    """Each score of a small dev has its interval in training.json and in print; folds are recommended."""
    record = json.loads((run(epochs=1) / "training.json").read_text())
    found, scores = record["intervals"]["dev"], record["metrics"]["dev"]
    assert list(found) == ["macro_f1", "accuracy"]
    assert all(low <= scores[metric] <= high for metric, (low, high) in found.items())
    low, high = found["accuracy"]
    printed = capsys.readouterr()
    assert f"accuracy {scores['accuracy']:.4f} ({low:.4f} to {high:.4f}), loss" in printed.out
    low, high = found["macro_f1"]
    assert (
        f"dev has 16 rows: the 95% interval of its macro-F1 is {low:.4f} to {high:.4f}; --folds 5 measures"
        in printed.err
    )
