"""Rules: faults of their file, what matches, and what they make of scores and decisions."""

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.special import expit, softmax

from bags import logits, make_bag, table
from bertwire_core.errors import UserError
from bertwire_core.tasks import Task
from bertwire_runtime.bundle import BundleError, Calibration, Manifest, open_bundle
from bertwire_runtime.heads import HEADS
from bertwire_runtime.output import Output
from bertwire_runtime.predictor import Predictor
from bertwire_runtime.rules import RuleSet, RulesFaulty, read_rules
from bertwire_runtime.thresholds import Thresholds
from support import LABELS

WEIGHTS = table(3)
DOWN, NEUTRAL, UP = LABELS
Rules = list[dict[str, Any]]


def rule(name: str, label: str, pattern: str = ".", **effect: Any) -> dict[str, Any]:  # noqa: ANN401
    return {"name": name, "pattern": pattern, "label": label, **effect}


def manifest(task: Task, labels: tuple[str, ...], thresholds: tuple[float, ...] = ()) -> Manifest:
    """As much of a manifest as decisions look at."""
    calibration = Calibration(temperature=1, thresholds=thresholds, ece_before=None, ece_after=None)
    known: dict[str, Any] = {"task": task, "labels": labels, "calibration": calibration}
    return Manifest.model_construct(**known)


def output(scores: NDArray[np.float32]) -> Output:
    """An answer with these scores."""
    return Output(scores, scores, (), 3, truncated=False)


def rule_set(rules: object, task: Task = "single_label") -> RuleSet:
    content = rules if isinstance(rules, bytes) else json.dumps(rules).encode()
    return RuleSet(content, task, LABELS)


GOOD = rule("r", UP, force=True)
EXACTLY_ONE = r"rule 1 (r): it has {}; give exactly one of them"
FAULTS: list[tuple[object, list[str]]] = [
    (b"\xff", ["it is not JSON in UTF-8"]),
    (b"[{]", ["it is not JSON: line 1"]),
    (b"[" * 100_000, ["it is nested too deeply"]),
    (rb'[{"name": "r", "pattern": "\d", "label": "up", "force": true}]', [r"Invalid \escape; write a backslash"]),
    ([], ["it is no list of rules"]),
    (GOOD, ["it is no list of rules"]),
    (["r"], ["rule 1: it is no object"]),
    ([GOOD, GOOD], ["2 rules have the name 'r'"]),
    ([GOOD | {"labels": []}], ["rule 1 (r): unknown key 'labels'; there are name, pattern, label, force"]),
    ([{"force": True}], [f"rule 1: {key} is missing or no text" for key in ("name", "pattern", "label")]),
    ([rule("a b", UP, force=True)], ["rule 1: the name 'a b' is not"]),
    ([rule("r", "joy", force=True)], ["rule 1 (r): the model has no label 'joy'; it has negative, neutral, positive"]),
    ([rule("r", UP, "(", force=True)], ["rule 1 (r): the pattern does not compile: missing ): ("]),
    ([rule("r", UP, "(?=a)", force=True)], ["rule 1 (r): the pattern does not compile: invalid perl operator"]),
    ([rule("r", UP, r"(a)\1", force=True)], ["rule 1 (r): the pattern does not compile: invalid escape"]),
    ([rule("r", UP, "\ud800", force=True)], ["rule 1 (r): the pattern does not compile: "]),
    ([rule("r", UP, "\bno\b", force=True)], ["rule 1 (r): the pattern holds the control character U+0008"]),
    ([rule("r", UP)], [EXACTLY_ONE.format("none of force, forbid and boost")]),
    ([rule("r", UP, force=True, forbid=True)], [EXACTLY_ONE.format("force and forbid")]),
    ([rule("r", UP, force=False)], ["rule 1 (r): force is not true"]),
    ([rule("r", UP, boost="1")], ["rule 1 (r): boost is no number"]),
    ([rule("r", UP, boost=True)], ["rule 1 (r): boost is no number"]),
    ([rule("r", UP, boost=10**400)], ["rule 1 (r): boost is no number"]),
    ([rule("r", UP, boost=float("nan"))], ["rule 1 (r): boost is no number"]),
    (b'[{"name": "r", "name": "r", "pattern": ".", "label": "neutral", "boost": 1}]', ["a key stands in it twice"]),
    ([rule(f"r{n}", UP, f"(?i)w{n}.{{0,900}}x", force=True) for n in range(150)], ["the patterns together are too"]),
]


@pytest.mark.parametrize(("content", "expected"), FAULTS)
def test_faults(content: object, expected: list[str]) -> None:
    """Name each fault in a line, with the rule that has it."""
    with pytest.raises(RulesFaulty) as caught:
        rule_set(content)
    assert len(caught.value.faults) == len(expected)
    for fault, words in zip(caught.value.faults, expected, strict=True):
        assert words in fault
        assert len(fault.splitlines()) == 1


def test_all_faults_at_once() -> None:
    """Name those of every rule together."""
    with pytest.raises(RulesFaulty) as caught:
        rule_set([rule("a", "joy", "(", force=True), GOOD, rule("b", UP), rule("a", UP, boost=1)])
    assert [fault.split(":")[0] for fault in caught.value.faults] == [
        "rule 1 (a)",
        "rule 1 (a)",
        "rule 3 (b)",
        "2 rules have the name 'a'; give each its own",
    ]


@pytest.mark.parametrize("task", ["token_classification", "regression"])
def test_tasks_without_rules(task: Task) -> None:
    """Refuse rules for words and numbers in one line."""
    with pytest.raises(RulesFaulty, match=f"rules are for labels of whole texts, and the model's task is {task}"):
        rule_set([GOOD], task)


def test_matching() -> None:
    """Find patterns anywhere in a text as sent, or in either text of a pair, in file order."""
    rules = rule_set(
        [
            rule("word", UP, r"\bgood\b", boost=1),
            rule("start", UP, "^a", boost=1),
            rule("any-case", UP, "(?i)GOOD", boost=1),
            rule("letters", UP, r"\p{Han}{2}", boost=1),
        ]
    )
    expected = {
        "a good": ["word", "start", "any-case"],
        "goods": ["any-case"],
        "\u4e2d\u6587 Good": ["any-case", "letters"],
        "\nab": [],
        "": [],
    }
    assert {text: [each.name for each in rules.matching(text)] for text in expected} == expected
    assert [each.name for each in rules.matching(("goods", "a\u4e2d\u6587"))] == ["start", "any-case", "letters"]
    assert [each.name for each in rules.matching(("x" * 100_000 + " good", "y"))] == ["word", "any-case"]


def scores(task: Task, rules: Rules, given: list[float], thresholds: tuple[float, ...] = ()) -> tuple[list[float], str]:
    """The scores of logits with rules that all match, and the labels decided for."""
    found = rule_set(rules, task)
    made = manifest(task, tuple(LABELS), thresholds)
    values = HEADS[task].scores(made, found.adjusted(found.matching("w"), np.array(given, np.float32)))
    chosen = HEADS[task].chosen(made, output(values), Thresholds())
    return values.tolist(), " ".join(label for label, on in zip(LABELS, chosen, strict=True) if on)


LOGITS = [1.0, 2.0, -1.0]
REST = softmax([1.0, -1.0])
SINGLE: list[tuple[Rules, list[float], str]] = [
    ([rule("a", UP, force=True)], [0, 0, 1], UP),
    ([rule("a", UP, force=True), rule("b", DOWN, force=True)], [0, 0, 1], UP),
    ([rule("a", DOWN, boost=900), rule("b", UP, force=True), rule("c", UP, boost=-900)], [0, 0, 1], UP),
    ([rule("a", NEUTRAL, forbid=True)], [REST[0], 0, REST[1]], DOWN),
    ([rule("a", NEUTRAL, forbid=True), rule("b", NEUTRAL, force=True)], [REST[0], 0, REST[1]], DOWN),
    ([rule("a", NEUTRAL, force=True), rule("b", NEUTRAL, forbid=True)], [0, 1, 0], NEUTRAL),
    ([rule("a", NEUTRAL, forbid=True), rule("b", DOWN, forbid=True), rule("c", UP, forbid=True)], [0, 0, 1], UP),
    ([rule("a", UP, boost=2.5), rule("b", UP, boost=1.5)], softmax([1, 2, 3]).tolist(), UP),
    ([rule("a", NEUTRAL, boost=-3)], softmax([1, -1, -1]).tolist(), DOWN),
]
SIGMOIDS = expit(LOGITS).tolist()
SEVERAL: list[tuple[Rules, list[float], str]] = [
    ([rule("a", UP, force=True)], [*SIGMOIDS[:2], 1], f"{DOWN} {NEUTRAL} {UP}"),
    ([rule("a", UP, force=True), rule("b", DOWN, force=True)], [1, SIGMOIDS[1], 1], f"{DOWN} {NEUTRAL} {UP}"),
    ([rule("a", each, forbid=True) for each in LABELS[:1]], [0, *SIGMOIDS[1:]], NEUTRAL),
    ([rule(f"r{each}", each, forbid=True) for each in LABELS], [0, 0, 0], ""),
    ([rule("a", UP, force=True), rule("b", UP, forbid=True)], [*SIGMOIDS[:2], 1], f"{DOWN} {NEUTRAL} {UP}"),
    ([rule("a", DOWN, forbid=True), rule("b", DOWN, force=True)], [0, *SIGMOIDS[1:]], NEUTRAL),
    ([rule("a", UP, boost=1.5), rule("b", DOWN, boost=-2)], expit([-1, 2, 0.5]).tolist(), f"{NEUTRAL} {UP}"),
]


@pytest.mark.parametrize(("rules", "expected", "decided"), SINGLE)
def test_one_label(rules: Rules, expected: list[float], decided: str) -> None:
    """Decide for a forced label with score 1, never for a forbidden one; of rules that contradict, the first counts."""
    found, labels = scores("single_label", rules, LOGITS)
    assert found == pytest.approx(expected, abs=1e-6)
    assert [value == 0 for value in found] == [value == 0 for value in expected]
    assert labels == decided


@pytest.mark.parametrize(("rules", "expected", "decided"), SEVERAL)
def test_several_labels(rules: Rules, expected: list[float], decided: str) -> None:
    """Give a forced label score 1 and a forbidden one 0, each for itself."""
    found, labels = scores("multi_label", rules, LOGITS, thresholds=(0.5, 0.5, 0.5))
    assert found == pytest.approx(expected, abs=1e-6)
    assert [value == 0 for value in found] == [value == 0 for value in expected]
    assert labels == decided


def test_many_labels_and_thresholds_of_callers() -> None:
    """Forbid by score 0 among many labels too; a threshold of 0 lets all labels through but those."""
    names = tuple(f"l{number}" for number in range(30))
    made = manifest("multi_label", names, (0.5,) * 30)
    forbids = [rule("a", "l3", forbid=True), rule("b", "l4", force=True)]
    found = RuleSet(json.dumps(forbids).encode(), "multi_label", names)
    head, far = HEADS["multi_label"], np.full(30, -200, np.float32)
    values = head.scores(made, found.adjusted(found.rules, far))
    assert [place for place, value in enumerate(values) if value == 0] == [3]
    assert values[4] == 1
    chosen = head.chosen(made, output(values), Thresholds(all=0.0))
    assert [place for place, on in enumerate(chosen) if not on] == [3]
    one = manifest("single_label", names)
    found = RuleSet(json.dumps(forbids[:1]).encode(), "single_label", names)
    assert HEADS["single_label"].scores(one, found.adjusted(found.rules, far)).tolist().count(0) == 1


def test_predictor_applies_them(bundle: Path, tmp_path: Path) -> None:
    """Give scores with the rules that match the uncut text, raw logits, and the rules' names."""
    rules = [rule("late", UP, "w59", force=True), rule("upper", DOWN, "W1", boost=4)]
    predictor = Predictor(open_bundle(make_bag(bundle, tmp_path / "bag", WEIGHTS, rules=rules)), threads=1)
    long = " ".join(["w1"] * 60 + ["w59"])
    plain, upper, cut = predictor.run(["w1 w2", "W1 w2", long])
    known = logits(WEIGHTS, "w1", "w2")
    assert (plain.rules, upper.rules, cut.rules) == ((), ("upper",), ("late",))
    np.testing.assert_allclose(plain.scores, softmax(known), rtol=1e-6)
    np.testing.assert_array_equal(upper.logits, known)
    np.testing.assert_allclose(upper.scores, softmax([known[0] + 4, *known[1:]]), rtol=1e-6)
    assert (cut.truncated, cut.scores.tolist()) == (True, [0, 0, 1])
    predictor.close()


@pytest.mark.parametrize(
    ("rules", "reason"),
    [
        (b"[]", r"rules\.json: it is no list of rules"),
        (b'[{"name": "other", "pattern": ".", "label": "positive", "force": true}]', "other rules than the manifest"),
    ],
)
def test_sealed_rules_that_do_not_fit(bundle: Path, tmp_path: Path, rules: bytes, reason: str) -> None:
    """Refuse a bundle whose rules were made by something else than export."""
    opened = open_bundle(make_bag(bundle, tmp_path / "bag", WEIGHTS, rules=rules))
    with pytest.raises(BundleError, match=reason):
        read_rules(opened)


def test_rules_are_of_schema_4(bundle: Path, tmp_path: Path) -> None:
    """Refuse them in an older schema, whose readers do not apply them; read such bundles without."""
    older = make_bag(bundle, tmp_path / "older", WEIGHTS, rules=[GOOD], schema_version=3)
    with pytest.raises(BundleError, match="schemas before 4 have no rules"):
        open_bundle(older)
    assert read_rules(open_bundle(make_bag(bundle, tmp_path / "bag", WEIGHTS, schema_version=3))) is None


def test_without_re2(bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Say in one line what to install; a bundle without rules needs nothing."""
    monkeypatch.setitem(sys.modules, "re2", None)
    with_rules = open_bundle(make_bag(bundle, tmp_path / "rules", WEIGHTS, rules=[GOOD]))
    with pytest.raises(UserError, match=r"^\S+rules: its rules need the package google-re2.*: pip install google-re2$"):
        Predictor(with_rules)
    Predictor(open_bundle(make_bag(bundle, tmp_path / "none", WEIGHTS))).close()
