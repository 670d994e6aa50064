"""Interrupted runs and how they go on. One epoch of the tiny run is 6 steps."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from transformers import TrainerState

from bertwire_core.errors import UserError
from bertwire_trainer import train as trainer
from bertwire_trainer.epochs import is_whole, last_whole
from bertwire_trainer.loop.progress import EpochBars

WriteRows = Callable[[str, list[tuple[str, str]]], Path]
Run = Callable[..., Path]
Separable = Callable[..., list[tuple[str, str]]]


Interrupt = Callable[..., None]


@pytest.fixture
def interrupt(run: Run, monkeypatch: pytest.MonkeyPatch) -> Interrupt:
    """Runs with given options until Ctrl-C at a given step."""

    def start(step: int, **options: Any) -> None:  # noqa: ANN401 - any option of the command
        def press(_: EpochBars, __: object, state: TrainerState, *___: object, **____: object) -> None:
            if state.global_step == step:
                raise KeyboardInterrupt

        with monkeypatch.context() as patch:
            patch.setattr(EpochBars, "on_step_end", press)
            with pytest.raises(KeyboardInterrupt):
                run(**options)

    return start


@pytest.fixture
def interrupt_saving(run: Run, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Runs with given options until Ctrl-C after the last epoch, before the result is written."""

    def press(*_: object) -> None:
        raise KeyboardInterrupt

    def start(**options: Any) -> None:  # noqa: ANN401 - any option of the command
        with monkeypatch.context() as patch:
            patch.setattr(trainer, "save", press)
            with pytest.raises(KeyboardInterrupt):
                run(**options)

    return start


def assert_same_result(one: Path, other: Path) -> None:
    """Both have the same weights, to 1e-6, the same metrics and the same best epoch."""
    first, second = load_file(one / "model.safetensors"), load_file(other / "model.safetensors")
    for name, tensor in first.items():
        torch.testing.assert_close(second[name], tensor, atol=1e-6, rtol=0)
    records = [json.loads((output / "training.json").read_text()) for output in (one, other)]
    for key in ("best_epoch", "data", "recipe"):
        assert records[0][key] == records[1][key]
    assert records[0]["metrics"]["dev"] == pytest.approx(records[1]["metrics"]["dev"], abs=1e-5)


@pytest.mark.parametrize("step", [3, 9, 15])
def test_resumed_is_as_uninterrupted(run: Run, interrupt: Interrupt, tmp_path: Path, step: int) -> None:
    """Ctrl-C in the first, second or third epoch, then --resume, gives the result of an uninterrupted run."""
    whole = run(output=tmp_path / "whole", epochs=3)
    interrupt(step, epochs=3)
    assert not (tmp_path / "out").exists()
    assert_same_result(whole, run(resume=True, epochs=3))
    assert not (tmp_path / "out.partial").exists()


def test_hint(interrupt: Interrupt, capsys: pytest.CaptureFixture[str]) -> None:
    """Ctrl-C after an epoch leaves one line that names --resume."""
    interrupt(9)
    assert "repeat the command with --resume" in capsys.readouterr().err


def test_hint_in_the_first_epoch(interrupt: Interrupt, capsys: pytest.CaptureFixture[str]) -> None:
    """Before an epoch is saved there is nothing to resume, and the line says so."""
    interrupt(3, epochs=1)
    shown = capsys.readouterr().err
    assert "nothing to go on from; start over with --overwrite" in shown
    assert "--resume" not in shown


@pytest.mark.parametrize("step", [21, None], ids=["in the last epoch", "after training"])
def test_moved_partial(
    run: Run,
    interrupt: Interrupt,
    interrupt_saving: Callable[..., None],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    write_rows: WriteRows,
    separable: Separable,
    step: int | None,
) -> None:
    """A partial folder that was moved goes on from its last epoch and ends with the weights of its best one."""
    other = {"positive": "negative", "negative": "positive"}
    # By which the model is worse the more it has learnt.
    dev = write_rows("contrary.jsonl", [(text, other[label]) for text, label in separable(16, 500)])
    options = {"dev": dev, "learning_rate": 5e-3, "epochs": 4, "patience": 9}
    whole = run(output=tmp_path / "whole", **options)
    if step:
        interrupt(step, **options)
    else:
        interrupt_saving(**options)
    (tmp_path / "out.partial").rename(tmp_path / "moved.partial")
    capsys.readouterr()
    out = run(output=tmp_path / "moved", resume=True, **options)
    assert json.loads((out / "training.json").read_text())["best_epoch"] < 4
    assert_same_result(whole, out)
    assert "epoch 3:" not in capsys.readouterr().out


def test_stray_folders(run: Run, interrupt: Interrupt, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Folders that only look like checkpoints are passed over."""
    interrupt(9)
    for name in ("checkpoint-abc", "checkpoint-", "checkpoint-6-copy"):
        (tmp_path / "out.partial" / "epochs" / name).mkdir()
    capsys.readouterr()
    run(resume=True)
    printed = capsys.readouterr()
    assert "epoch 2:" in printed.out
    assert "epoch 1:" not in printed.out
    assert "was not written to its end" not in printed.err


def test_incomplete_checkpoints_are_not_deleted(interrupt: Interrupt, tmp_path: Path) -> None:
    """What looks incomplete is passed over and left for a person to look at."""
    interrupt(15, epochs=3)
    epochs = tmp_path / "out.partial" / "epochs"
    cut_state(epochs / "checkpoint-12")
    assert last_whole(epochs) == epochs / "checkpoint-6"
    assert (epochs / "checkpoint-12" / "optimizer.pt").is_file()


@pytest.mark.parametrize("name", ["model.safetensors", "scaler.pt", "optimizer.pt"])
def test_what_makes_a_checkpoint_whole(interrupt: Interrupt, tmp_path: Path, name: str) -> None:
    """Weights must end where their header says, and every archive of tensors must be sound, the scaler's too."""
    interrupt(9)
    checkpoint = tmp_path / "out.partial" / "epochs" / "checkpoint-6"
    torch.save({"scale": 1.0}, checkpoint / "scaler.pt")
    assert is_whole(checkpoint)
    content = (checkpoint / name).read_bytes()
    for damaged in (content[:-1], content[: len(content) // 2], b""):
        (checkpoint / name).write_bytes(damaged)
        assert not is_whole(checkpoint)


def test_interrupted_run_is_not_lost_by_accident(run: Run, interrupt: Interrupt, tmp_path: Path) -> None:
    """With an interrupted run there, a new one is refused with both ways on; --overwrite starts anew."""
    interrupt(3)
    with pytest.raises(UserError, match="--resume or throw it away with --overwrite"):
        run()
    run(overwrite=True, learning_rate=1e-3)
    assert not (tmp_path / "out.partial").exists()


def test_resume_without_an_interrupted_run(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    """--resume with nothing to resume starts, so that one command line serves both, and says so."""
    assert (run(resume=True, epochs=1) / "training.json").is_file()
    assert "no interrupted run at" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"learning_rate": 1e-3}, "recipe.learning_rate 0.003, now 0.001"),
        ({"epochs": 4}, "recipe.epochs 3, now 4"),
        ({"max_length": 8}, "max_length 16, now 8"),
        ({"seed": 1}, "seed 42, now 1"),
        ({"method": "lora", "learning_rate": 3e-3}, "method 'full', now 'lora'"),
    ],
)
def test_other_settings(run: Run, interrupt: Interrupt, change: dict[str, Any], named: str) -> None:
    """--resume with another setting is refused and the setting named."""
    interrupt(9, epochs=3)
    with pytest.raises(UserError, match=f"was started with other settings .*{named}"):
        run(**({"resume": True, "epochs": 3} | change))


def test_other_data_and_other_model(
    run: Run, interrupt: Interrupt, write_rows: WriteRows, tiny: Path, tmp_path: Path, separable: Separable
) -> None:
    """--resume with other rows, or with another folder of the same name, is refused."""
    interrupt(9, epochs=3)
    other = shutil.copytree(tiny, tmp_path / "elsewhere" / tiny.name)
    with pytest.raises(UserError, match="other settings \\(location "):
        run(resume=True, epochs=3, model=str(other))
    write_rows("train.jsonl", separable(48)[::-1])
    with pytest.raises(UserError, match=r"other settings \(data.train.sha256 "):
        run(resume=True, epochs=3)


def cut_optimizer(checkpoint: Path) -> None:
    content = (checkpoint / "optimizer.pt").read_bytes()
    (checkpoint / "optimizer.pt").write_bytes(content[: len(content) // 2])


def flip_optimizer(checkpoint: Path) -> None:
    content = bytearray((checkpoint / "optimizer.pt").read_bytes())
    content[len(content) // 2] ^= 255
    (checkpoint / "optimizer.pt").write_bytes(content)


def cut_weights(checkpoint: Path) -> None:
    content = (checkpoint / "model.safetensors").read_bytes()
    (checkpoint / "model.safetensors").write_bytes(content[:-8])


def drop_state(checkpoint: Path) -> None:
    (checkpoint / "trainer_state.json").unlink()


def cut_state(checkpoint: Path) -> None:
    content = (checkpoint / "trainer_state.json").read_bytes()
    (checkpoint / "trainer_state.json").write_bytes(content[:-20])


@pytest.mark.parametrize("damage", [cut_optimizer, flip_optimizer, cut_weights, drop_state, cut_state])
def test_half_written_checkpoint(
    run: Run, interrupt: Interrupt, tmp_path: Path, damage: Callable[[Path], None], capsys: pytest.CaptureFixture[str]
) -> None:
    """A checkpoint that was not written to its end is passed over; the run goes on from the one before."""
    whole = run(output=tmp_path / "whole", epochs=3)
    interrupt(15, epochs=3)
    damage(tmp_path / "out.partial" / "epochs" / "checkpoint-12")
    capsys.readouterr()
    assert_same_result(whole, run(resume=True, epochs=3))
    printed = capsys.readouterr()
    assert "checkpoint-12 was not written to its end" in printed.err
    assert "epoch 2:" in printed.out
    assert "epoch 1:" not in printed.out


def test_no_checkpoint_can_be_trusted(run: Run, interrupt: Interrupt, tmp_path: Path) -> None:
    """With every checkpoint damaged the run starts from the base checkpoint again."""
    whole = run(output=tmp_path / "whole", epochs=3)
    interrupt(15, epochs=3)
    for checkpoint in (tmp_path / "out.partial" / "epochs").iterdir():
        cut_state(checkpoint)
    assert_same_result(whole, run(resume=True, epochs=3))


def test_partial_without_its_start(run: Run, interrupt: Interrupt, tmp_path: Path) -> None:
    """A partial folder that does not say what it was started with cannot be resumed."""
    interrupt(9)
    (tmp_path / "out.partial" / "run.json").write_text("{")
    with pytest.raises(UserError, match="does not say what it was started with; start over with --overwrite"):
        run(resume=True)


def test_killed_after_early_stopping(
    run: Run, interrupt_saving: Callable[..., None], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A run that had stopped early when it was interrupted trains no further epoch."""
    options = {"learning_rate": 1e-12, "epochs": 9, "patience": 1}
    whole = run(output=tmp_path / "whole", **options)
    interrupt_saving(**options)
    capsys.readouterr()
    assert_same_result(whole, run(resume=True, **options))
    assert "epoch" not in capsys.readouterr().out


def test_patience_is_counted_across_an_interruption(run: Run, interrupt: Interrupt, tmp_path: Path) -> None:
    """Epochs without a better score before the interruption count towards patience after it."""
    options = {"learning_rate": 1e-12, "epochs": 9, "patience": 3}
    interrupt(15, **options)
    out = run(resume=True, **options)
    assert json.loads((out / "training.json").read_text())["best_epoch"] == 1
    assert not (tmp_path / "out.partial").exists()
