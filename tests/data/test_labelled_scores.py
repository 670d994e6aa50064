"""Targets as numbers, decisions and figures."""

import numpy
import pytest

from bertwire_core.errors import UserError
from bertwire_core.tasks import TASKS, Task, TaskTable
from bertwire_data.labelled import MAIN_METRIC, Labelled, decisions, encode_targets, outside_row, score
from bertwire_data.tasks import TASK_ROWS

TAGS = ["O", "B-x", "I-x"]


def logits_of(*ids: int) -> numpy.ndarray:
    """Logits that decide these tags."""
    return numpy.eye(len(TAGS), dtype=numpy.float32)[list(ids)]


def test_targets_of_each_task() -> None:
    """Each task has its own kind of array."""
    single = encode_targets(Labelled("a", "single_label", ["x", "y"], ["b", "a"], [1, 2]), ["a", "b"])
    assert (str(single.dtype), single.tolist()) == ("int64", [1, 0])
    multi = encode_targets(Labelled("a", "multi_label", ["x", "y"], [["b"], []], [1, 2]), ["a", "b"])
    assert (str(multi.dtype), multi.tolist()) == ("float32", [[0, 1], [0, 0]])
    tags = encode_targets(
        Labelled("a", "token_classification", [["x"], ["y", "z"]], [["O"], ["B-x", "O"]], [1, 2]), TAGS
    )
    assert (str(tags.dtype), tags.tolist()) == ("int64", [0, 1, 0])
    numbers = encode_targets(Labelled("a", "regression", ["x"], [0.5], [1]), ["label"])
    assert (str(numbers.dtype), numbers.tolist()) == ("float64", [0.5])


def test_unknown_labels() -> None:
    """Labels that are not known are named with their source, counted, and the first row given."""
    labelled = Labelled("dev.csv", "multi_label", ["x"] * 4, [["a"], ["c", "a"], ["d"], ["c"]], [1, 2, 3, 5])
    with pytest.raises(UserError, match=r"dev.csv has label 'c' \(and 1 more such label\).* in 3 rows, first in row 2"):
        encode_targets(labelled, ["a", "b"])


def test_single_label() -> None:
    """Two of three right: one label with F1 2/3 each; a label that never occurs does not count."""
    logits = numpy.array([[2.0, 0.0, 0.0], [1.0, 0.0, 0.0], [0.0, 1.0, 0.0]])
    scores = score("single_label", logits, numpy.array([0, 1, 1]), ["a", "b", "unused"])
    assert scores == pytest.approx({"macro_f1": 2 / 3, "accuracy": 2 / 3})
    assert list(scores) == ["macro_f1", "accuracy"]


def test_multi_label() -> None:
    """A label is chosen from its threshold on; counts are pooled for micro-F1 and averaged for macro-F1."""
    logits, targets = numpy.array([[0.0, -1.0, -1.0], [3.0, 1.0, -1.0]]), numpy.array([[1, 0, 0], [0, 1, 0]])
    scores = score("multi_label", logits, targets, ["a", "b", "c"])
    assert scores == pytest.approx({"micro_f1": 4 / 5, "macro_f1": 5 / 6, "subset_accuracy": 1 / 2})
    assert next(iter(scores)) == "micro_f1"
    assert decisions("multi_label", logits, ["a", "b", "c"]) == [["a"], ["a", "b"]]
    assert decisions("multi_label", logits, ["a", "b", "c"], thresholds=[0.6, 0.9, 0.2]) == [["c"], ["a", "c"]]


def test_no_label_at_all() -> None:
    """Where no text has or gets a label, F1 is 0 and every text is right."""
    scores = score("multi_label", numpy.full((2, 2), -1.0), numpy.zeros((2, 2)), ["a", "b"])
    assert scores == {"micro_f1": 0.0, "macro_f1": 0.0, "subset_accuracy": 1.0}


@pytest.mark.parametrize(("logit", "f1", "right"), [(1.0, 2 / 3, 1 / 2), (-1.0, 0.0, 1 / 2)])
def test_one_label_or_none(logit: float, f1: float, right: float) -> None:
    """A model with a single label is scored by the texts that have it, and not by those that rightly have none."""
    scores = score("multi_label", numpy.full((2, 1), logit), numpy.array([[1], [0]]), ["a"])
    assert scores == pytest.approx({"micro_f1": f1, "macro_f1": f1, "subset_accuracy": right})


def test_label_that_is_never_chosen() -> None:
    """A label that occurs and is never chosen has F1 0; one that neither occurs nor is chosen has none."""
    logits, targets = numpy.array([[1.0, -1.0, -1.0]]), numpy.array([[1, 1, 0]])
    assert score("multi_label", logits, targets, ["a", "b", "c"])["macro_f1"] == 0.5


def test_unknown_task() -> None:
    """A task that does not exist is named."""
    with pytest.raises(ValueError, match="there is no task 'ranking'"):
        decisions("ranking", numpy.zeros((1, 1)), ["a"])  # type: ignore[arg-type]


def test_entities_count_whole() -> None:
    """An entity is right with its first and last word; a text's end ends it; I- without B- is none."""
    targets = numpy.array([1, 2, 1, 0, 1, 2])
    assert score("token_classification", logits_of(*targets), targets, TAGS, [2, 4])["f1"] == 1.0
    half = score("token_classification", logits_of(1, 2, 2, 0, 1, 0), targets, TAGS, [2, 4])
    assert half == pytest.approx({"f1": 2 / 5, "precision": 1 / 2, "recall": 1 / 3})
    assert list(half) == ["f1", "precision", "recall"]


def test_types_differ_by_a_hyphen() -> None:
    """All that follows the first hyphen is the type: blood groups `A` and `A-` are two."""
    labels = ["O", "B-A", "B-A-", "I-A-", "B--", "B---"]
    targets = numpy.array([1, 2, 3, 4, 5])
    logits = numpy.eye(len(labels))[[2, 2, 3, 5, 5]]
    assert score("token_classification", logits, targets, labels, [1, 4]) == pytest.approx(
        {"f1": 0.5, "precision": 0.5, "recall": 0.5}
    )


def test_no_entity_at_all() -> None:
    """Texts without entities, and predictions without, score 0 without a warning."""
    for predicted, true in (((0, 0), (0, 0)), ((0, 0), (1, 0)), ((1, 0), (0, 0)), ((2, 2), (0, 0))):
        scores = score("token_classification", logits_of(*predicted), numpy.array(true), TAGS, [2])
        assert scores == {"f1": 0.0, "precision": 0.0, "recall": 0.0}


def test_words_that_were_cut_off() -> None:
    """The row that stands for a word without logits decides O."""
    assert decisions("token_classification", outside_row(["B-x", "O"])[None], ["B-x", "O"], [1]) == [["O"]]


def test_words_must_fit() -> None:
    """Logits for another number of words are a fault of the program."""
    with pytest.raises(ValueError, match="3 rows of logits for 2 words"):
        decisions("token_classification", logits_of(0, 0, 0), TAGS, [2])


def test_regression() -> None:
    """Correlations do not mind the scale, ranks not even the shape; the error does."""
    scores = score("regression", numpy.array([[1.0], [2.0], [3.0]]), numpy.array([2.0, 4.0, 12.0]), ["label"])
    assert scores == pytest.approx({"pearson": 0.9449112, "spearman": 1.0, "mae": 4.0})
    assert next(iter(scores)) == "pearson"


@pytest.mark.parametrize("predicted", [[0.1, 0.1, 0.1], [0.1, 0.1 + 1e-17, 0.1]], ids=["same", "nearly"])
def test_constant_predictions(predicted: list[float]) -> None:
    """Predictions that are all the same, or differ in the last bit alone, correlate with nothing."""
    scores = score("regression", numpy.array(predicted), numpy.array([1.0, 2.0, 3.0]), ["label"])
    assert (scores["pearson"], scores["spearman"]) == pytest.approx((0.0, 0.0), abs=1e-12)
    assert score("regression", numpy.array([1.0]), numpy.array([1.0]), ["label"])["pearson"] == 0.0


def test_two_numbers() -> None:
    """The correlation of two pairs is that of their order."""
    scores = score("regression", numpy.array([[1.0], [3.0]]), numpy.array([0.5, 0.25]), ["label"])
    assert scores == {"pearson": -1.0, "spearman": -1.0, "mae": 1.625}


# Of each task: logits, targets, labels, and the words of each text.
SCORED: TaskTable[tuple[numpy.ndarray, numpy.ndarray, list[str], list[int] | None]] = TaskTable(
    {
        "single_label": (numpy.eye(2), numpy.array([0, 1]), ["a", "b"], None),
        "multi_label": (numpy.eye(2), numpy.eye(2), ["a", "b"], None),
        "token_classification": (logits_of(1, 2, 0), numpy.array([1, 2, 0]), TAGS, [3]),
        "regression": (numpy.array([0.1, 0.4]), numpy.array([0.2, 0.3]), ["label"], None),
    }
)


@pytest.mark.parametrize("task", TASKS)
def test_every_score_has_a_name(task: Task) -> None:
    """The scores are those with a name in print, the main one first."""
    assert list(score(task, *SCORED[task])) == [metric for metric, _ in TASK_ROWS[task].metrics]
    assert next(iter(score(task, *SCORED[task]))) == MAIN_METRIC[task]
