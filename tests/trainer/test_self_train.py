"""Self-training: which texts are learned, which round is published, and how it goes on."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from bertwire_core.errors import UserError
from bertwire_trainer.config import TrainConfig
from bertwire_trainer.loop.progress import EpochBars
from bertwire_trainer.method import Fitted, Job
from bertwire_trainer.methods.full import Full, FullOptions
from bertwire_trainer.prepare import prepare
from bertwire_trainer.record import TrainingRecord

Run = Callable[..., Path]
Rows = list[tuple[str, str]]
WriteRows = Callable[[str, Rows], Path]
Separable = Callable[..., Rows]


@pytest.fixture
def texts(tmp_path: Path, separable: Separable) -> Path:
    path = tmp_path / "more.txt"
    path.write_text("\n".join(text for text, _ in separable(64, 1000)))
    return path


def record(output: Path) -> TrainingRecord:
    return TrainingRecord.model_validate_json((output / "training.json").read_bytes())


@pytest.mark.parametrize("method", ["full", "lora", "ia3"])
def test_every_method(run: Run, texts: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], method: str) -> None:
    """The best round is published; what each did is printed and recorded, with no path."""
    output = run(method=method, self_train=[texts], self_train_rounds=2, self_train_members=2)
    found = record(output).stages["self_train"]
    rounds = found["rounds"]
    assert rounds[0]["texts"] == 0
    assert len(rounds) > 1
    assert all(each["texts"] == 64 for each in rounds[1:])
    best = max(each["macro_f1"] for each in rounds)
    assert rounds[found["best_round"]]["macro_f1"] == best
    assert record(output).metrics["dev"]["macro_f1"] == pytest.approx(best)
    assert (found["self_train"], found["self_train_rounds"]) == (["more.txt"], 2)
    assert str(tmp_path) not in (output / "training.json").read_text()
    first = f"self-train: round 1: {rounds[1]['texts']} texts beside the 48 of train, dev macro-F1 "
    assert f"{first}{rounds[1]['macro_f1']:.4f}" in capsys.readouterr().err


def test_a_worse_round_is_not_published(
    run: Run, texts: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """It ends the rounds, and the weights are those of a run without the stage."""
    plain, fit = run(output=tmp_path / "plain"), Full.fit

    def spoil(method: Full, job: Job, options: FullOptions) -> Fitted:
        fitted = fit(method, job, options)
        if len(job.tokens["train"]) > 48:
            with torch.no_grad():
                fitted.model.classifier.weight.neg_()  # type: ignore[union-attr,operator]
        return fitted

    monkeypatch.setattr(Full, "fit", spoil)
    output = run(self_train=[texts], self_train_members=1)
    found = record(output).stages["self_train"]
    assert (found["best_round"], len(found["rounds"])) == (0, 2)
    assert "self-train: round 1 is no better on dev" in capsys.readouterr().err
    one, other = (load_file(each / "model.safetensors") for each in (plain, output))
    assert all(torch.equal(one[name], other[name]) for name in one)


@pytest.mark.parametrize("method", ["full", "lora"])
def test_interrupted(run: Run, texts: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, method: str) -> None:
    """Ctrl-C within round 1, then --resume, gives the weights of an uninterrupted run; round 0 is not repeated."""
    options = {"self_train": [texts], "self_train_rounds": 2, "self_train_members": 2, "method": method}
    whole = run(output=tmp_path / "whole", **options)
    steps: list[int] = []

    def press(_: EpochBars, __: object, state: Any, *___: object, **____: object) -> None:  # noqa: ANN401
        steps.append(state.max_steps)
        # In the second epoch of a training with more rows than the first.
        if state.max_steps > steps[0] and state.global_step > state.max_steps // 2 + 1:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(EpochBars, "on_step_end", press)
        with pytest.raises(KeyboardInterrupt):
            run(**options)
    first = steps[0]
    steps.clear()
    with monkeypatch.context() as patch:
        patch.setattr(EpochBars, "on_step_end", lambda *given, **_: steps.append(given[2].max_steps))
        resumed = run(resume=True, **options)
    assert first not in steps
    one, other = (load_file(output / "model.safetensors") for output in (whole, resumed))
    assert max(float((one[name] - other[name]).abs().max()) for name in one) < 1e-6
    assert record(whole).stages == record(resumed).stages


def test_texts_of_a_split_are_left_out(run: Run, write_rows: WriteRows, separable: Separable) -> None:
    """A text whose label is known is not labelled anew."""
    more = write_rows("more.jsonl", [*separable(48), *separable(16, 100), *separable(5, 1000)])
    output = run(self_train=[more], self_train_members=1, epochs=1)
    found = record(output).stages["self_train"]
    assert found["texts"] == 5
    assert found["rounds"][1]["texts"] == 5


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"self_train": [], "self_train_rounds": 2}, "^--self-train-rounds needs --self-train$"),
        ({"self_train": [Path("absent.txt")]}, "absent.txt: no such file"),
        ({"task": "regression"}, "^--self-train is for multi_label and single_label; this is regression$"),
        ({"method": "frozen"}, "^--self-train is for --method full, lora, ia3, which train by epochs; not frozen$"),
        ({"text_pair_column": "text"}, "^--self-train is for single texts; train.jsonl has pairs of texts$"),
        ({"self_train": [Path("train.jsonl")]}, "^--self-train has no text that is not in train, dev or test"),
    ],
)
def test_faulty_options(
    write_rows: WriteRows,
    separable: Separable,
    texts: Path,
    monkeypatch: pytest.MonkeyPatch,
    options: dict[str, Any],
    message: str,
) -> None:
    """Faults are one line before PyTorch is loaded."""
    train = write_rows("train.jsonl", separable(24))
    monkeypatch.chdir(train.parent)
    given = {"train": train, "output": train.with_name("out"), "self_train": [texts]}
    with pytest.raises(UserError, match=message):
        prepare(TrainConfig(**(given | options)))
