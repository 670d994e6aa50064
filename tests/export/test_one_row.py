"""No limit of the gate is finer than one row: seeded cases against a count by hand, and what is said of it."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from bertwire_core.tasks import Task
from bertwire_data.labelled import Labelled, encode_targets, score
from bertwire_export.examples import Examples
from bertwire_export.facts import wider
from bertwire_export.gate import faults, text_faults
from bertwire_export.measure import quality
from bertwire_export.one_row import one_row
from bertwire_runtime.bundle import Agreement, GateLimits
from graphs import export
from support import LABELS

LIMITS = GateLimits(
    min_label_agreement=0.995, max_quality_drop=0.005, max_logit_difference=None, max_batch_variance=0.001
)
Floats = NDArray[np.float32]


def examples(task: Task, targets: list[Any], labels: list[str]) -> Examples:
    inputs: Any = [["w"] * len(each) for each in targets] if task == "token_classification" else ["w"] * len(targets)
    labelled = Labelled("dev", task, inputs, targets, [*range(1, len(targets) + 1)])
    return Examples(labelled, labels, [], encode_targets(labelled, labels), None)


def classified(seed: int, rows: int = 50) -> tuple[Examples, Floats]:
    """Rows of three labels, one of them rare, of which PyTorch decides some nine in ten right."""
    generator = np.random.default_rng(seed)
    ids = np.concatenate([[2], generator.integers(0, 2, rows - 1)])
    logits = generator.normal(size=(rows, 3)) + 4 * np.eye(3)[ids]
    return examples("single_label", [LABELS[each] for each in ids], LABELS), logits.astype(np.float32)


def flipped(logits: Floats, places: list[int]) -> Floats:
    """The logits with the two best labels of some rows exchanged."""
    result = logits.copy()
    for place in places:
        best, second = np.argsort(-logits[place])[:2]
        result[place, [best, second]] = logits[place, [second, best]]
    return result


def found(dev: Examples, logits: Floats, other: Floats, limits: GateLimits) -> tuple[str, ...]:
    """The limits that a graph with other logits than PyTorch's breaks."""
    return faults(dev.labelled.task, quality(dev, other, logits, None), 0, dev.score(logits), limits)


@pytest.mark.parametrize("seed", range(8))
def test_any_one_row_may_differ(seed: int) -> None:
    """Whichever row of 50 a graph decides otherwise, the gate lets it pass; without that most break a limit."""
    dev, logits = classified(seed)
    limits = LIMITS.model_copy(update={"one_row": one_row(dev, logits, None)})
    others = [flipped(logits, [place]) for place in range(50)]
    assert [found(dev, logits, other, limits) for other in others] == [()] * 50
    assert all(found(dev, logits, other, LIMITS) for other in others)


@pytest.mark.parametrize("seed", range(8))
def test_two_rows_may_not(seed: int) -> None:
    """Of two rows of 50 the agreement tells."""
    dev, logits = classified(seed)
    limits = LIMITS.model_copy(update={"one_row": one_row(dev, logits, None)})
    (first, *_) = found(dev, logits, flipped(logits, [3, 17]), limits)
    assert first == "it decides as PyTorch in 96.00% of the cases, at least 98.00% is asked"


def test_worth_is_the_worst_row() -> None:
    """By flipping each row and scoring anew; accuracy falls by one in 50."""
    dev, logits = classified(1)
    scores = [dev.score(flipped(logits, [place])) for place in range(50)]
    own = dev.score(logits)
    worth = one_row(dev, logits, None)
    assert worth == pytest.approx(
        {
            "macro_f1": own["macro_f1"] - min(each["macro_f1"] for each in scores),
            "accuracy": 1 / 50,
            "label_agreement": 1 / 50,
        }
    )
    assert worth["macro_f1"] > 0.3  # the label with one row


def test_limits_that_are_wider_stay() -> None:
    """A limit that is worth more than one row is kept as it is; its neighbours do not change it."""
    dev, logits = classified(2, rows=1000)
    limits = GateLimits(
        min_label_agreement=0.95,
        max_quality_drop=0.005,
        max_logit_difference=None,
        max_batch_variance=0,
        one_row=one_row(dev, logits, None),
    )
    assert (limits.least_agreement, limits.most_drop("accuracy")) == (0.95, 0.005)
    assert wider(limits, ["accuracy"]) == ""
    assert wider(limits, ["accuracy", "macro_f1"]) == f" (macro_f1 {limits.most_drop('macro_f1'):.2g}: one row)"


def test_other_tasks() -> None:
    """One label of a text, the tag of one word; of a correlation what it changes without one text."""
    several = examples("multi_label", [["a"], ["a"], ["b"], ["a", "b"]], ["a", "b"])
    logits = np.array([[1, -2], [2, -3], [-1, 0.5], [3, 2]], np.float32)
    worth = one_row(several, logits, None)
    # All five are right; with one of two `b` lost 4 are right of 5 that are there and 4 found, and F1 of `b` is 2/3.
    assert worth == pytest.approx({"micro_f1": 1 - 8 / 9, "macro_f1": 1 / 6, "label_agreement": 1 / 8})
    tags = examples("token_classification", [["B-x", "O"], ["B-x", "O"]], ["O", "B-x", "I-x"])
    tagged = np.array([[0, 3, 1], [3, 0, 0], [0, 2, 1], [3, 0, 0]], np.float32)
    assert one_row(tags, tagged, None) == pytest.approx({"f1": 1 / 3, "label_agreement": 1 / 4})
    numbers = [0.0, 1.0, 2.0, 3.0, 10.0]
    given = np.array([[0.5], [1.0], [1.5], [4.0], [6.0]], np.float32)
    measured = one_row(examples("regression", numbers, ["label"]), given, None)

    def pearson(rows: list[int]) -> float:
        return score("regression", given[rows], np.array(numbers)[rows], ["label"])["pearson"]

    rows = [*range(5)]
    without = [pearson([row for row in rows if row != each]) for each in rows]
    assert measured["pearson"] == pytest.approx(max(abs(pearson(rows) - each) for each in without))
    assert "label_agreement" not in measured
    assert "mae" not in measured


def test_agreement_on_texts() -> None:
    """On unlabelled texts one decision may differ, two of 50 not; logits have the limit of dev."""
    limits = LIMITS.model_copy(update={"max_logit_difference": 0.01})
    assert text_faults(Agreement(decisions=50, label_agreement=0.98, max_logit_difference=0.01), limits) == ()
    assert text_faults(Agreement(decisions=50, label_agreement=0.96, max_logit_difference=0.02), limits) == (
        "it decides as PyTorch in 96.00% of the cases of --texts, at least 98.00% is asked",
        "on --texts a logit differs by 0.02 from PyTorch's, at most 0.01 is allowed",
    )
    assert text_faults(Agreement(decisions=0, label_agreement=None, max_logit_difference=9), LIMITS) == ()


def test_bundle_and_report_say_it(checkpoint: Path, tmp_path: Path) -> None:
    """The manifest has the worth of a row, and the report the limits as they are held."""
    outcome = export(checkpoint, tmp_path / "out", variants=["fp32"])
    assert outcome.manifest is not None
    limits = outcome.manifest.variants[0].proofs[0].limits
    assert limits.one_row["accuracy"] == pytest.approx(0.01)
    assert limits.least_agreement == pytest.approx(0.99)
    page = (tmp_path / "out.report.html").read_text()
    assert "label agreement at least 99.00%" in page
    assert "accuracy 0.01: one row)" in page
