"""Calibration by itself, against numbers whose answer is known."""

from itertools import pairwise

import numpy as np
import pytest
from scipy.special import expit, softmax

from bertwire_data.pages.figures import calibration_error
from bertwire_export.calibration import fit_temperature, fit_thresholds


def overconfident(temperature: float, texts: int = 20_000) -> tuple[np.ndarray, np.ndarray]:
    """Logits float32 [texts, 3] that are `temperature` times calibrated ones, and labels drawn from these."""
    chance = np.random.default_rng(4)
    calibrated = chance.normal(0, 2, (texts, 3))
    draws = chance.uniform(size=(texts, 1))
    targets = (softmax(calibrated, axis=1).cumsum(axis=1) < draws).sum(axis=1)
    return (calibrated * temperature).astype(np.float32), targets


@pytest.mark.parametrize("temperature", [0.25, 1.0, 3.5])
def test_finds_the_temperature(temperature: float) -> None:
    """Logits that were made too large or too small by a factor get that factor back, and calibrated scores with it."""
    logits, targets = overconfident(temperature)
    found = fit_temperature(logits, targets)
    assert found == pytest.approx(temperature, rel=0.05)
    scores = softmax(logits.astype(np.float64) / found, axis=1)
    assert calibration_error(scores.max(axis=1), scores.argmax(axis=1) == targets) < 0.015


def test_temperature_grows_with_confidence() -> None:
    """The more overconfident the logits, the higher the temperature."""
    found = [fit_temperature(*overconfident(temperature, 500)) for temperature in (0.5, 1, 2, 4, 8)]
    assert all(one < other for one, other in pairwise(found))


def test_temperature_is_bounded() -> None:
    """Logits that are always wrong ask for infinity and get the bound."""
    targets = np.arange(30) % 3
    logits = np.eye(3, dtype=np.float32)[(targets + 1) % 3]
    assert fit_temperature(logits, targets) == pytest.approx(10, rel=0.01)


def test_temperature_of_what_is_always_right() -> None:
    """Without a mistake nothing says how sure to be, and the scores stay as they are."""
    targets = np.arange(30) % 3
    assert fit_temperature(np.eye(3, dtype=np.float32)[targets], targets) == 1


def thresholds(scores: list[float], present: list[int]) -> float:
    """The threshold of one label."""
    return fit_thresholds(np.array(scores)[:, None], np.array(present, np.float32)[:, None])[0]


def test_threshold_has_the_best_f1() -> None:
    """No other step has a better F1, on scores that overlap."""
    chance = np.random.default_rng(5)
    present = chance.uniform(size=300) < 0.3
    scores = expit(chance.normal(-2, 1, 300) + 1.5 * present)

    def f1(cut: float) -> float:
        chosen = scores >= cut
        return float(2 * (chosen & present).sum() / (chosen.sum() + present.sum()))

    found = fit_thresholds(scores[:, None], present[:, None].astype(np.float32))[0]
    assert f1(found) == max(f1(step / 20) for step in range(1, 20))
    assert f1(found) > f1(0.5)


@pytest.mark.parametrize(
    ("scores", "present", "expected"),
    [
        ([0.9, 0.8, 0.7, 0.6, 0.4, 0.2, 0.1], [1, 1, 1, 1, 1, 0, 0], 0.4),
        ([0.1, 0.2, 0.4, 0.6, 0.7, 0.8, 0.9], [0, 0, 1, 1, 1, 1, 1], 0.4),
        ([0.9, 0.8, 0.8, 0.7, 0.6], [1, 1, 1, 1, 1], 0.5),
        ([0.99, 0.98, 0.97, 0.96, 0.955, 0.94], [1, 1, 1, 1, 1, 0], 0.95),
    ],
)
def test_threshold_is_the_step_nearest_to_one_half(scores: list[float], present: list[int], expected: float) -> None:
    """Of the steps that part the texts alike, the one nearest to 0.5 is taken; a score on it counts as present."""
    assert thresholds(scores, present) == expected


@pytest.mark.parametrize(("count", "expected"), [(0, 0.5), (4, 0.5), (5, 0.2)])
def test_rare_labels_keep_one_half(count: int, expected: float) -> None:
    """With fewer than 5 texts that have a label its best cut would be chance."""
    assert thresholds([0.2] * count + [0.1] * 20, [1] * count + [0] * 20) == pytest.approx(expected)


def test_error_by_hand() -> None:
    """Bins of a fifteenth each: 0.95 and 0.97 share the last, of which half is right; 0.5 has a bin of its own."""
    # |1.92 - 1| of the last bin and |0.5 - 1| of the eighth, over 3 decisions.
    found = calibration_error(np.array([0.95, 0.97, 0.5]), np.array([True, False, True]))
    assert found == pytest.approx((0.92 + 0.5) / 3)


@pytest.mark.parametrize(("right", "expected"), [(True, 0.0), (False, 1.0)])
def test_error_at_its_ends(right: bool, expected: float) -> None:
    """Fewer decisions than bins, and a score of 1, which has a bin too."""
    assert calibration_error(np.array([1.0]), np.array([right])) == expected


def test_error_averages_within_a_bin() -> None:
    """What is sure to 80% and right four times of five is calibrated."""
    assert calibration_error(np.full(5, 0.8), np.array([True] * 4 + [False])) == pytest.approx(0, abs=1e-12)
