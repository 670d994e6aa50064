"""Logits to scores, labels and entities, without a model."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.special import expit, softmax
from seqeval.scheme import IOB2, Entities

from bertwire_core.tasks import TASKS, Task, TaskTable
from bertwire_runtime.bundle import Manifest
from bertwire_runtime.bundle.manifest import Calibration
from bertwire_runtime.heads import HEADS
from bertwire_runtime.output import Entity, Output, best
from bertwire_runtime.thresholds import Thresholds

TAGS = ("O", "B-x", "I-x", "B-y", "I-y")


def manifest(
    task: str, labels: tuple[str, ...], thresholds: tuple[float, ...] = (), temperature: float = 1
) -> Manifest:
    """As much of a manifest as decisions look at."""
    calibration = Calibration(temperature=temperature, thresholds=thresholds, ece_before=None, ece_after=None)
    known: dict[str, Any] = {"task": task, "labels": labels, "calibration": calibration}
    return Manifest.model_construct(**known)


def output(scores: Any, entities: Sequence[Entity] = ()) -> Output:  # noqa: ANN401 - what makes an array
    """An answer with these scores."""
    array = np.array(scores, np.float32)
    return Output(array, array, entities, len(array), truncated=False)


def decide(manifest: Manifest, found: Output, thresholds: Thresholds) -> list[bool]:
    """The labels that the head of a manifest's task decides for."""
    return HEADS[manifest.task].chosen(manifest, found, thresholds)


def entities(labels: tuple[str, ...], scores: Any, words: Sequence[tuple[int, int, int]]) -> Sequence[Entity]:  # noqa: ANN401
    """The entities of words, by the scores of tokens."""
    model = manifest("token_classification", labels)
    return HEADS["token_classification"].entities(model, np.array(scores, np.float32), words)


def score(manifest: Manifest, logits: NDArray[np.float32]) -> NDArray[np.float32]:
    """The scores by the head of a manifest's task."""
    return HEADS[manifest.task].scores(manifest, logits)


def tagged(*tags: str) -> list[tuple[str, int, int]]:
    """The entities of words of one character, one token each, by their places."""
    labels = tuple(dict.fromkeys(("O", *tags)))
    scores = np.eye(len(labels), dtype=np.float32)[[labels.index(tag) for tag in tags]]
    words = [(place, place, place + 1) for place in range(len(tags))]
    found = entities(labels, scores, words)
    assert all(each.score == 1 for each in found)
    return [(each.label, each.start, each.end) for each in found]


@pytest.mark.parametrize(
    ("tags", "expected"),
    [
        ("O O", []),
        ("B-x", [("x", 0, 1)]),
        ("O B-x I-x", [("x", 1, 3)]),
        ("B-x B-x I-x", [("x", 0, 1), ("x", 1, 3)]),
        ("B-x I-x B-y", [("x", 0, 2), ("y", 2, 3)]),
        ("I-x I-x O", []),
        ("O I-x B-x", [("x", 2, 3)]),
        ("B-x I-y I-y O", [("x", 0, 1)]),
        ("B-x I-y I-x", [("x", 0, 1)]),
        ("B-x O I-x", [("x", 0, 1)]),
        ("B-A- I-A B-A I-A-", [("A-", 0, 1), ("A", 2, 3)]),
        ("B-A- I-A- B--A I--A", [("A-", 0, 2), ("-A", 2, 4)]),
        ("B-- I--", [("-", 0, 2)]),
    ],
)
def test_entities_of_tags(tags: str, expected: list[tuple[str, int, int]]) -> None:
    """B- begins, I- of the same type continues, whatever else ends an entity."""
    assert tagged(*tags.split()) == expected


def test_entities_are_those_of_seqeval() -> None:
    """For any tags the entities are those of seqeval's strict IOB2, where no type begins or ends with a hyphen."""
    generator = np.random.default_rng(0)
    for _ in range(300):
        tags = [TAGS[index] for index in generator.integers(len(TAGS), size=generator.integers(1, 9))]
        (expected,) = Entities([tags], IOB2).entities
        assert tagged(*tags) == [(each.tag, each.start, each.end) for each in expected], tags


def test_entity_takes_the_first_token_of_its_words() -> None:
    """Words' other tokens are not looked at; the score is the mean of the words'."""
    rows, labels = [[0.9, 0.1, 0], [0.2, 0.8, 0], [0, 1, 0], [0.3, 0.1, 0.6], [1, 0, 0]], ("O", "B-x", "I-x")
    (found,) = entities(labels, rows, [(1, 0, 4), (3, 5, 7)])
    assert (found.label, found.start, found.end) == ("x", 0, 7)
    assert found.score == pytest.approx(0.7)
    assert not entities(labels, rows, [])


def test_entity_types_come_once() -> None:
    """Types are the tags without B- and I-, a hyphen within them kept."""
    tags = manifest("token_classification", ("O", "B-a-b", "I-a-b", "B-c"))
    assert HEADS["token_classification"].names(tags) == ["a-b", "c"]


@pytest.mark.parametrize("labels", [2, 3, 20, 21, 77])
@pytest.mark.parametrize("scale", [1, 30, 3e4, 3e38])
def test_scores_are_scipys(labels: int, scale: float) -> None:
    """Softmax at the temperature and sigmoids, for few labels and many, near and far; never NaN, never above 1."""
    names = tuple(map(str, range(labels)))
    logits = (np.random.default_rng(labels).uniform(-1, 1, labels) * scale).astype(np.float32)
    wide = logits.astype(np.float64)
    for found, expected in (
        (score(manifest("single_label", names, temperature=1.7), logits), softmax(wide / 1.7)),
        (score(manifest("multi_label", names), logits), expit(wide)),
    ):
        assert found.dtype == np.float32
        assert found.min() >= 0
        assert found.max() <= 1
        np.testing.assert_allclose(found, expected, rtol=2e-6 * max(1, min(scale, 100)), atol=1e-30)


def test_token_scores_are_softmax_of_rows() -> None:
    """For token classification each token's scores sum to 1."""
    logits = np.random.default_rng(0).normal(size=(7, 5)).astype(np.float32)
    np.testing.assert_allclose(score(manifest("token_classification", TAGS), logits), softmax(logits, 1), rtol=1e-6)


def test_regression_gives_the_number() -> None:
    """The score of regression is its logit, which every answer decides for."""
    number = manifest("regression", ("stars",))
    logits = np.array([-3.5], np.float32)
    assert score(number, logits).tolist() == [-3.5]
    assert decide(number, output([-3.5]), Thresholds()) == [True]


def test_best_keeps_label_order_of_equals() -> None:
    """Highest first; of equal scores the label that the model has first."""
    scores = np.array([0.2, 0.3, 0.2, 0.3], np.float32)
    assert best(scores, None) == [1, 3, 0, 2]
    assert [best(scores, count) for count in (1, 2, 3, 9)] == [[1], [1, 3], [1, 3, 0], [1, 3, 0, 2]]


def test_single_label_is_predicted_from_its_threshold_on() -> None:
    """The best label, of equals the first, where it reaches what the caller asks for."""
    single = manifest("single_label", ("a", "b", "c"))
    assert decide(single, output([0.4, 0.4, 0.2]), Thresholds()) == [True, False, False]
    assert decide(single, output([0.1, 0.5, 0.4]), Thresholds(all=0.5)) == [False, True, False]
    assert decide(single, output([0.1, 0.5, 0.4]), Thresholds(all=0.51)) == [False] * 3
    assert decide(single, output([0.1, 0.5, 0.4]), Thresholds(all=0.9, by_label={"b": 0.2})) == [False, True, False]
    assert decide(single, output([0.1, 0.5, 0.4]), Thresholds(by_label={"a": 1, "c": 1})) == [False, True, False]


def test_several_labels_are_predicted_from_their_thresholds_on() -> None:
    """The manifest's thresholds, over them the caller's for all, over these the caller's for one; equal is enough."""
    several = manifest("multi_label", ("a", "b", "c"), thresholds=(0.1, 0.37, 1))
    scores = np.array([0.1, 0.37, 0.999], np.float32).tolist()
    assert decide(several, output(scores), Thresholds()) == [True, True, False]
    assert decide(several, output(scores), Thresholds(all=0.5)) == [False, False, True]
    assert decide(several, output(scores), Thresholds(all=0.5, by_label={"a": 0.05})) == [True, False, True]
    assert decide(several, output(scores), Thresholds(by_label={"c": 0})) == [True, True, True]


def test_thresholds_at_the_ends_of_their_range() -> None:
    """At 0 any score is enough but that of a label that rules forbid, at 1 only the highest there is."""
    several = manifest("multi_label", ("a", "b", "c"), thresholds=(0, 0, 1))
    logits = np.array([-np.inf, -200, np.inf], np.float32)
    scores = score(several, logits)
    assert decide(several, output(scores), Thresholds()) == [False, True, True]
    assert decide(several, output(scores[[0, 1, 1]]), Thresholds()) == [False, True, False]
    assert decide(several, output(scores), Thresholds(all=0)) == [False, True, True]


# Token 1 begins no word: it is the second part of the word that begins a person's name.
TOKENS = [[0, 0.9, 0, 0.1], [0, 0, 0, 1], [0.1, 0, 0.9, 0], [1, 0, 0, 0], [0.4, 0, 0, 0.6], [0, 0.7, 0.3, 0]]
WORDS = ((0, 0, 5), (2, 6, 9), (3, 10, 12), (4, 13, 15), (5, 16, 19))
PLACES = ("O", "B-PER", "I-PER", "B-LOC")
NAMES = output(TOKENS, entities(PLACES, TOKENS, WORDS))


Given = tuple[tuple[str, ...], Output, list[tuple[str, float]], list[str]]
# Of each task: labels, an answer, what is given of it, and the names known before.
GIVEN: TaskTable[list[Given]] = TaskTable(
    {
        "single_label": [(("a", "b"), output([0.2, 0.8]), [("b", 0.8)], ["a", "b"])],
        "multi_label": [
            (("a", "b", "c"), output([0.3, 0.5, 0.9]), [("b", 0.5), ("c", 0.9)], ["a", "b", "c"]),
            (("a", "b", "c"), output([0.1, 0.2, 0.3]), [], ["a", "b", "c"]),
        ],
        "token_classification": [
            (PLACES, NAMES, [("PER", 0.9), ("LOC", 0.6), ("PER", 0.7)], ["PER", "LOC"]),
            (PLACES, output(TOKENS), [], ["PER", "LOC"]),
        ],
        "regression": [(("stars",), output([4.2]), [], [])],
    }
)


@pytest.mark.parametrize(("task", "case"), [(task, case) for task in TASKS for case in GIVEN[task]])
def test_labels_given(task: Task, case: Given) -> None:
    """The best label, those over the model's own thresholds, the entities, or none; all of names known before."""
    labels, answer, expected, known = case
    thresholds = (0.4, 0.5, 0.6)[: len(labels)] if task == "multi_label" else ()
    model = manifest(task, labels, thresholds)
    given = [(label, round(value, 3)) for label, value in HEADS[task].given(model, answer)]
    assert given == expected
    assert list(HEADS[task].names(model)) == known


def test_unknown_task_is_an_error() -> None:
    """In a look-up."""
    unknown: Any = "ranking"
    with pytest.raises(ValueError, match="no task 'ranking'"):
        HEADS[unknown]


@pytest.mark.parametrize(
    ("tasks", "words"),
    [
        (TASKS[1:], "missing: single_label; unknown: none"),
        ((*TASKS, "ranking"), "missing: none; unknown: ranking"),
        (("ranking", "regression"), "missing: single_label, multi_label, token_classification; unknown: ranking"),
    ],
)
def test_table_with_other_tasks_is_an_error(tasks: Any, words: str) -> None:  # noqa: ANN401
    """Which it lacks and which there are not is said as soon as it is made."""
    with pytest.raises(TypeError, match=words):
        TaskTable(dict.fromkeys(tasks))
