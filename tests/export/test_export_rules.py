"""Rules in an export: checked, measured, sealed and shown."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bertwire_core.errors import UserError
from bertwire_core.tasks import Task
from bertwire_export.cli import InspectConfig, run_inspect
from bertwire_export.ruled import read_rule_file
from bertwire_runtime.bundle import BundleError, open_bundle
from bertwire_runtime.predictor import Predictor
from graphs import export
from support import LABELS, in_process, random_texts

RULES: list[dict[str, Any]] = [
    {"name": "forced", "pattern": r"^w1\d\b", "label": "positive", "force": True},
    {"name": "forbidden", "pattern": r"\bw7\b", "label": "negative", "forbid": True},
    {"name": "nowhere", "pattern": "(?i)REFUND", "label": "neutral", "boost": 2},
]


def written(path: Path, rules: object = RULES) -> Path:
    path.write_text(json.dumps(rules))
    return path


@pytest.fixture(scope="module")
def exported(checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny checkpoint's bundle with rules, proven on dev and test."""
    folder = tmp_path_factory.mktemp("rules")
    test = folder / "test.jsonl"
    test.write_text(
        "".join(
            json.dumps({"text": text, "label": LABELS[number % 3]}) + "\n"
            for number, text in enumerate(random_texts(50, seed=9))
        )
    )
    output = folder / "tiny"
    export(checkpoint, output, variants=["fp32"], rules=written(folder / "rules.json"), test=test)
    return output


def test_what_they_change_is_measured(exported: Path, checkpoint: Path) -> None:
    """Record the texts of each rule, the decisions that differ, and the scores, as the runtime computes them."""
    bundle = open_bundle(exported)
    manifest = bundle.manifest
    assert manifest.rules is not None
    assert manifest.rules.names == ("forced", "forbidden", "nowhere")
    rows = [json.loads(line) for line in (checkpoint / "predictions" / "dev.jsonl").read_text().splitlines()]
    predictor = Predictor(bundle, threads=1)
    outputs = predictor.run([row["text"] for row in rows])
    predictor.close()
    effect = manifest.rules.dev
    assert effect.matched == tuple(sum(name in each.rules for each in outputs) for name in manifest.rules.names)
    assert effect.matched[0] > 3
    assert effect.matched[2] == 0
    decided = [int(np.argmax(each.scores)) for each in outputs]
    assert effect.changed == sum(int(np.argmax(each.logits)) != one for each, one in zip(outputs, decided, strict=True))
    assert 0 < effect.changed <= sum(bool(each.rules) for each in outputs)
    right = [LABELS[one] == row["label"] for one, row in zip(decided, rows, strict=True)]
    assert effect.scores["accuracy"] == pytest.approx(np.mean(right))
    assert effect.scores.keys() == manifest.provenance.reference.dev.keys()
    assert manifest.rules.test is not None
    assert sum(manifest.rules.test.matched) > 0


def test_gate_proves_without_them(exported: Path) -> None:
    """The variants' scores and agreement are those of the graphs alone."""
    manifest = open_bundle(exported).manifest
    (proof,) = manifest.variants[0].proofs
    assert proof.dev.label_agreement == 1
    assert proof.dev.scores == manifest.provenance.reference.dev


def test_they_are_sealed(exported: Path) -> None:
    """The file is in the bundle as it was written, and no other is accepted in its place."""
    file = exported / "rules.json"
    content = file.read_bytes()
    assert json.loads(content) == RULES
    file.write_bytes(content.replace(b"REFUND", b"REFUNP"))
    try:
        with pytest.raises(BundleError, match=r"rules\.json is not what was sealed"):
            open_bundle(exported)
    finally:
        file.write_bytes(content)


def test_they_are_shown(exported: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """In the report, with their patterns, and by `inspect`."""
    page = exported.with_name("tiny.report.html").read_text()
    assert "<h2>Rules</h2>" in page
    assert all(each in page for each in ("forbidden", "boost +2", "(?i)REFUND", "decisions changed"))
    run_inspect(InspectConfig(bundle=exported))
    shown = capsys.readouterr().out
    assert "Rules, by PyTorch's logits" in shown
    assert "texts of forbidden" in shown
    assert "decisions changed" in shown


def test_several_labels(make_task: Any, tmp_path: Path) -> None:  # noqa: ANN401 - a fixture
    """A changed set of labels counts as one decision."""
    made = make_task("multi_label")
    rules = [{"name": "rare", "pattern": "good", "label": "rare", "force": True}]
    outcome = export(made.checkpoint, tmp_path / "bundle", variants=["fp32"], rules=written(tmp_path / "r.json", rules))
    assert outcome.manifest is not None
    found = outcome.manifest.rules
    assert found is not None
    assert found.dev.matched[0] == 20
    assert 10 < found.dev.changed <= 20


def test_faults_are_named_together(checkpoint: Path, tmp_path: Path) -> None:
    """One line each, and nothing is written; a single one is the error itself."""
    path = written(tmp_path / "rules.json", [RULES[0] | {"label": "joy", "pattern": "("}, RULES[0], RULES[0]])
    done = in_process("export", checkpoint, "--output", tmp_path / "out", "--rules", path)
    assert done.exit_code == 1
    *faults, last = [line for line in done.stderr.splitlines() if "rules.json" in line]
    assert [line.removeprefix(f"{path}: ")[:28] for line in faults] == [
        "rule 1 (forced): the model h",
        "rule 1 (forced): the pattern",
        "3 rules have the name 'force",
    ]
    assert last == f"bertwire: error: {path} has 3 faults, named above; mend them"
    with pytest.raises(UserError, match=r"rules\.json: rule 1: it is no object"):
        export(checkpoint, tmp_path / "out", rules=written(path, ["r"]))
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("task", ["regression", "token_classification"])
def test_tasks_without_rules(tmp_path: Path, task: Task) -> None:
    """Words and numbers take none."""
    with pytest.raises(UserError, match=f"rules are for labels of whole texts, and the model's task is {task}"):
        read_rule_file(written(tmp_path / "rules.json"), task, LABELS)
