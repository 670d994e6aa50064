"""Folds of train and dev: who is in which, what is measured, and what an interrupted run keeps."""

import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy
import pytest
import torch
from safetensors.torch import load_file

from bertwire_core.errors import UserError
from bertwire_data.labelled import Labelled
from bertwire_trainer.config import TrainConfig
from bertwire_trainer.methods import METHODS
from bertwire_trainer.prepare import prepare
from bertwire_trainer.train import train_model
from bertwire_trainer.trust.deal import NONE, deal
from rows import ROWS, write

Run = Callable[..., Path]


def labelled(texts: list[str], labels: list[str]) -> Labelled:
    return Labelled("rows.csv", "single_label", texts, labels, [*range(1, len(texts) + 1)])


def test_folds_are_stratified() -> None:
    """Each fold has the share of each label, and each row is in one."""
    labels = ["a"] * 20 + ["b"] * 10
    folds = deal(labelled([f"t{number}" for number in range(30)], labels), 5, 1)
    for fold in range(5):
        assert Counter(label for label, each in zip(labels, folds, strict=True) if each == fold) == {"a": 4, "b": 2}


def test_same_texts_stay_together() -> None:
    """Rows of one text are in one fold."""
    texts = [f"t{number % 12}" for number in range(60)]
    folds = deal(labelled(texts, ["a", "b"] * 30), 4, 3)
    assert all(len({fold for text, fold in zip(texts, folds, strict=True) if text == each}) == 1 for each in set(texts))


def test_every_label_is_left_to_learn() -> None:
    """A label with one text is in no fold; one with two texts is in two."""
    folds = deal(labelled([f"t{number}" for number in range(11)], ["a"] * 8 + ["b", "c", "c"]), 2, 0)
    assert folds[8] == NONE
    assert sorted(folds[9:]) == [0, 1]


def test_numbers_and_several_labels() -> None:
    """Numbers are dealt in their order, so that all folds have low and high ones; rare labels are spread."""
    numbers = Labelled(
        "r", "regression", [f"t{number}" for number in range(40)], [*map(float, range(40))], [*range(40)]
    )
    folds = deal(numbers, 4, 0)
    means = [numpy.mean([number for number in range(40) if folds[number] == fold]) for fold in range(4)]
    assert max(means) - min(means) == 3
    targets = [["x", "rare"] if number % 10 == 0 else ["x"] for number in range(40)]
    several = Labelled("m", "multi_label", [f"t{number}" for number in range(40)], targets, [*range(40)])
    assert sorted(deal(several, 4, 0)[::10]) == [0, 1, 2, 3]


def test_too_few_texts() -> None:
    """More folds than texts are one line."""
    with pytest.raises(UserError, match=r"rows.csv has 3 distinct texts, too few for 5 folds, .*lower --folds$"):
        deal(labelled(["x", "y", "z", "z"], ["a", "b", "a", "b"]), 5, 0)


def read(output: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((output / "training.json").read_text())
    return found


def test_recorded_and_published_as_without(run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """All rows of train and dev are scored once; the published weights are those of a run without folds."""
    plain = run(output=tmp_path / "plain", epochs=1)
    capsys.readouterr()
    output = run(folds=3, epochs=1)
    found = read(output)["folds"]
    assert (found["folds"], found["rows"], found["unscored"], len(found["scores"])) == (3, 64, 0, 3)
    assert found["mean"]["accuracy"] == pytest.approx(sum(each["accuracy"] for each in found["scores"]) / 3)
    low, high = found["intervals"]["macro_f1"]
    assert low <= found["pooled"]["macro_f1"] <= high
    printed = capsys.readouterr()
    assert (
        f"3 folds of train and dev: macro-F1 {found['mean']['macro_f1']:.4f} on average, "
        f"{found['pooled']['macro_f1']:.4f} on all 64 rows, 95% interval {low:.4f} to {high:.4f}" in printed.out
    )
    assert "measures the method better" not in printed.err
    assert "fold 3 of 3: macro-F1" in printed.err
    weights, others = (load_file(each / "model.safetensors") for each in (output, plain))
    assert all(torch.equal(weights[name], each) for name, each in others.items())
    assert read(plain)["folds"] is None


@pytest.mark.parametrize("method", [name for name in METHODS if name != "distill"])
def test_every_method(tiny: Path, tmp_path: Path, method: str) -> None:
    """Each method is measured by its `fit`, with its own options at their cheapest."""
    options: dict[str, dict[str, Any]] = {
        "full": {"epochs": 1},
        "lora": {"epochs": 1},
        "few-shot": {"num_iterations": 1},
        "prototypes": {"episodes": 2, "ways": 2, "shots": 1, "queries": 1},
    }
    given = {
        "train": write(tmp_path / "train.jsonl", ROWS["pairs"], range(24)),
        "dev": write(tmp_path / "dev.jsonl", ROWS["pairs"], range(24, 36)),
        "output": tmp_path / "out",
        "model": str(tiny),
        "max_length": 16,
        "method": method,
        "folds": 2,
    }
    config = TrainConfig(**(given | options.get(method, {})))
    train_model(prepare(config))
    assert read(config.output)["folds"]["rows"] == 36


@pytest.mark.parametrize("kind", ["multi_label", "regression", "token_classification"])
def test_every_task(tiny: Path, tmp_path: Path, kind: str) -> None:
    """Rows of every task are scored, with an interval for each score."""
    given: dict[str, Any] = {
        "train": write(tmp_path / "train.jsonl", ROWS[kind], range(24)),
        "dev": write(tmp_path / "dev.jsonl", ROWS[kind], range(24, 36)),
        "output": tmp_path / "out",
        "model": str(tiny),
        "max_length": 16,
        "epochs": 1,
        "folds": 2,
    }
    config = TrainConfig(**given)
    train_model(prepare(config))
    found = read(config.output)["folds"]
    assert found["rows"] == 36
    assert set(found["intervals"]) == set(found["mean"]) - {"loss"}


def test_finished_folds_are_kept(
    run: Run, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """A run that was interrupted in its second fold goes on with that one, and ends as one that was not."""
    whole = read(run(output=tmp_path / "whole", folds=2, epochs=1))["folds"]
    fit, calls = METHODS["full"].fit, []

    def second_is_interrupted(job: Any, options: Any) -> Any:  # noqa: ANN401
        calls.append(len(job.data.train))
        if len(calls) == 2:
            raise KeyboardInterrupt
        return fit(job, options)

    monkeypatch.setattr(METHODS["full"], "fit", second_is_interrupted)
    with pytest.raises(KeyboardInterrupt):
        run(folds=2, epochs=1)
    assert "repeat the command with --resume" in capsys.readouterr().err
    found = read(run(folds=2, epochs=1, resume=True))["folds"]
    # The first fold, the interrupted second, the second again, the model that is published.
    assert len(calls) == 4
    assert found["pooled"] == pytest.approx(whole["pooled"], abs=1e-5)


def test_too_few_rows_are_told_before_training(run: Run) -> None:
    """More folds than rows are refused while rows are read."""
    with pytest.raises(UserError, match="too few for 99 folds"):
        run(folds=99)


@pytest.mark.parametrize(
    ("texts", "folds", "options", "message"),
    [
        (1, 2, {}, "^--folds 2: fold 1 leaves too few texts a label of .*; add rows or raise --folds$"),
        (2, 2, {"method": "prototypes"}, "^--folds 2: .* gives no episodes: they need two classes, one of them with"),
    ],
)
def test_folds_that_leave_too_few_texts_a_label(
    tmp_path: Path, texts: int, folds: int, options: dict[str, Any], message: str
) -> None:
    """What a fold leaves must do for an epoch to be chosen, and for the method; else nothing is begun."""
    places = range(3 * texts), range(3 * texts, 6 * texts)
    paths = [tmp_path / "train.jsonl", tmp_path / "dev.jsonl"]
    for path, each in zip(paths, places, strict=True):
        path.write_text("".join(f'{{"text": "t{n}", "label": "{"abc"[n % 3]}"}}\n' for n in each))
    given: dict[str, Any] = {"train": paths[0], "dev": paths[1], "output": tmp_path / "out", "folds": folds} | options
    with pytest.raises(UserError, match=message):
        prepare(TrainConfig(**given))
    assert not (tmp_path / "out.partial").exists()
