"""What small edits of dev change, from the command line to training.json."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bertwire_trainer.config import TrainConfig
from bertwire_trainer.prepare import prepare
from bertwire_trainer.train import train_model
from bertwire_trainer.trust.edits import EDITS
from rows import ROWS, write

Run = Callable[..., Path]
WriteRows = Callable[[str, list[tuple[str, str]]], Path]


def read(output: Path) -> dict[str, dict[str, Any]]:
    found = json.loads((output / "training.json").read_text())["robustness"]
    return {each["name"]: each for each in found}


def test_edits_of_dev(
    run: Run, write_rows: WriteRows, capsys: pytest.CaptureFixture[str], separable: Callable[..., Any]
) -> None:
    """A lower-casing tokenizer reads case and spaces alike; a typo in the word that decides flips what it decided."""
    dev = [(text, label) for text, label in separable(60, 100) if label == "positive"]
    dev = [(f"{text} was Anna 12", label) for text, label in dev] + separable(10, 300)
    output = run(dev=write_rows("edited.jsonl", dev), epochs=6, robustness=True, learning_rate=5e-3)
    found = read(output)
    assert list(found) == list(EDITS)
    for name in ("upper case", "spaces around"):
        assert (found[name]["rows"], found[name]["flips"]) == (50, 0.0)
        assert found[name]["score"] == found[name]["before"]
    named = found["other first names"]
    assert (named["rows"], named["metric"]) == (40, "macro_f1")
    negated = found["negation added"]
    assert (negated["rows"], negated["score"], negated["metric"]) == (40, None, None)
    assert negated["flips"] is not None
    assert "labels may change" in negated["remark"]
    assert (
        found["no punctuation"] | {"rows": 0, "flips": None, "remark": "no text has what it changes"}
        == (found["no punctuation"])
    )
    # The letters inside of `good` and `Anna` are alike.
    assert found["typo, two letters swapped"]["rows"] == 0
    assert found["typo, neighbouring key"]["rows"] == 40 + sum("good" in text for text, _ in separable(10, 300))
    printed = capsys.readouterr().out
    assert "edit of dev" in printed
    assert f"{found['upper case']['rows']:>5}  " in printed


@pytest.mark.parametrize("kind", ["multi_label", "regression", "token_classification", "pairs"])
def test_every_task(tiny: Path, tmp_path: Path, kind: str) -> None:
    """Numbers have an error and a mean change; tags leave out the edits that do not keep the words."""
    given: dict[str, Any] = {
        "train": write(tmp_path / "train.jsonl", ROWS[kind], range(24)),
        "dev": write(tmp_path / "dev.jsonl", ROWS[kind], range(24, 36)),
        "output": tmp_path / "out",
        "model": str(tiny),
        "max_length": 16,
        "epochs": 1,
        "robustness": True,
    }
    config = TrainConfig(**given)
    train_model(prepare(config))
    found = read(config.output)
    upper = found["upper case"]
    assert (upper["rows"], upper["score"]) == (12, upper["before"])
    if kind == "regression":
        assert (upper["metric"], upper["flips"], upper["change"]) == ("mae", None, 0.0)
    else:
        assert (upper["flips"], upper["change"]) == (0.0, None)
    assert ("left out" in found["spaces around"]["remark"]) == (kind == "token_classification")
