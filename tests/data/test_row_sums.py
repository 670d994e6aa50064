"""What scores are made of, row by row."""

from typing import Any

import numpy
import pytest
from numpy.typing import NDArray

from bertwire_core.tasks import TASKS, Task
from bertwire_data.labelled import decisions, row_sums, score, scores_of, turned

LABELS: dict[Task, list[str]] = {
    "single_label": ["a", "b", "c", "unused"],
    "multi_label": ["a", "b", "c"],
    "token_classification": ["O", "B-x", "I-x", "B-y"],
    "regression": ["label"],
}
WORDS = [1, 3, 2, 4, 2, 3, 5, 1, 2, 2]


def made(task: Task, seed: int = 0) -> tuple[NDArray[numpy.floating], NDArray[Any], list[int] | None]:
    """Logits, targets and words of ten texts of a task."""
    generator = numpy.random.default_rng(seed)
    words = WORDS if task == "token_classification" else None
    rows, width = sum(words or [1] * len(WORDS)), len(LABELS[task])
    logits = generator.normal(size=(rows, width))
    targets: dict[Task, NDArray[Any]] = {
        "single_label": generator.integers(0, 3, rows),
        "multi_label": (generator.random((rows, width)) < 0.4).astype(numpy.float32),
        "token_classification": generator.choice([0, 1, 3], rows),
        "regression": logits[:, 0] * 3 + generator.normal(size=rows) + 1000,
    }
    return logits, targets[task], words


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("seed", range(5))
def test_sums_of_all_rows_give_the_scores(task: Task, seed: int) -> None:
    """Summed over all texts they give what `score` gives."""
    logits, targets, words = made(task, seed)
    sums = row_sums(task, logits, targets, LABELS[task], words)
    assert len(sums) == len(WORDS)
    found = {name: float(value) for name, value in scores_of(task, sums.sum(axis=0)).items()}
    assert found == pytest.approx(score(task, logits, targets, LABELS[task], words), abs=1e-9)


def test_sums_of_some_rows_give_their_scores() -> None:
    """Rows that are counted twice, or not at all, count so."""
    logits, targets, _ = made("single_label")
    rows = [0, 0, 3, 5, 9, 9, 9]
    sums = row_sums("single_label", logits, targets, LABELS["single_label"])
    several = scores_of("single_label", numpy.stack([sums[rows].sum(axis=0), sums[:2].sum(axis=0)]))
    for place, chosen in enumerate((rows, [0, 1])):
        expected = score("single_label", logits[chosen], targets[chosen], LABELS["single_label"])
        assert {name: each[place] for name, each in several.items()} == pytest.approx(expected)


def test_constant_numbers_do_not_correlate() -> None:
    """Numbers that are all the same have the correlation 0, as in `score`."""
    sums = row_sums("regression", numpy.full((4, 1), 0.1), numpy.array([0.1, 0.2, 0.3, 0.7]), ["label"])
    found = scores_of("regression", sums.sum(axis=0))
    assert float(found["pearson"]) == float(found["spearman"]) == 0


def other(
    task: Task,
    logits: NDArray[numpy.floating],
    labels: list[str],
    words: list[int] | None = None,
    thresholds: list[float] | None = None,
) -> list[Any]:
    """The decisions with one of each text turned."""
    found = turned(task, logits, words, thresholds)
    assert found is not None
    return decisions(task, found, labels, words, thresholds)


def test_one_decision_of_each_text_is_turned() -> None:
    """The second best label, the label nearest to its threshold, the second best tag of the least certain word."""
    logits = numpy.array([[3.0, 2.0, 0.0], [0.0, 1.0, 5.0]])
    assert other("single_label", logits, ["a", "b", "c"]) == ["b", "b"]
    several = numpy.array([[3.0, -0.1, -4.0], [0.2, 1.0, -5.0]])
    assert decisions("multi_label", several, ["a", "b", "c"]) == [["a"], ["a", "b"]]
    assert other("multi_label", several, ["a", "b", "c"]) == [["a", "b"], ["b"]]
    assert other("multi_label", several, ["a", "b", "c"], thresholds=[0.5, 0.74, 0.5]) == [["a", "b"], ["a", "b"]]
    tags = numpy.array([[3.0, 0.0, 2.9], [0.0, 4.0, 1.0], [5.0, 4.0, 0.0]])
    assert decisions("token_classification", tags, ["O", "B-x", "I-x"], [2, 1]) == [["O", "B-x"], ["O"]]
    assert other("token_classification", tags, ["O", "B-x", "I-x"], [2, 1]) == [["I-x", "B-x"], ["B-x"]]
    assert turned("regression", numpy.ones((2, 1))) is None
