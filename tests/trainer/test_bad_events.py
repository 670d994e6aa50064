"""Training that diverges, and batches that do not fit into memory. One epoch of the tiny run is 6 steps."""

import functools
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

import pytest
import torch
from transformers import BertForSequenceClassification, TrainerControl, TrainerState
from transformers.modeling_outputs import SequenceClassifierOutput

from bertwire_core.errors import UserError
from bertwire_trainer.loop.divergence import Divergence
from bertwire_trainer.record import TrainingRecord

Run = Callable[..., Path]
Change = Callable[[int, torch.Tensor], torch.Tensor]
Spoil = Callable[..., None]
RATHER = "lower --learning-rate, or use --precision fp32$"


def logits(folder: Path) -> list[list[float]]:
    """Return the published model's logits of dev; weights would not do, since AdamW turns the noise of a gradient of 0
    into steps.
    """
    lines = (folder / "predictions" / "dev.jsonl").read_text().splitlines()
    return [json.loads(line)["logits"] for line in lines]


def epoch_lines(printed: str) -> list[str]:
    return [line for line in printed.splitlines() if line.startswith("epoch ")]


@pytest.fixture
def spoil(monkeypatch: pytest.MonkeyPatch) -> Spoil:
    """Makes a function change the logits of each forward pass, in training or not; the first is 1."""
    forward = BertForSequenceClassification.forward

    def start(change: Change, *, training: bool = True) -> None:
        passes = 0

        @functools.wraps(forward)  # Trainer reads the signature
        def changed(self: BertForSequenceClassification, **inputs: Any) -> SequenceClassifierOutput:  # noqa: ANN401
            nonlocal passes
            answer: SequenceClassifierOutput = forward(self, **inputs)
            if self.training == training:
                passes += 1
                assert answer.logits is not None
                answer.logits = change(passes, answer.logits)
            return answer

        monkeypatch.setattr(BertForSequenceClassification, "forward", changed)

    return start


@pytest.mark.parametrize(
    ("factor", "reason"),
    [(float("nan"), "the loss of step 14 is nan"), (1e4, r"the loss is \S+ at step 1[45678], at the start 1")],
)
def test_diverged_run_keeps_the_best_epoch_before(
    run: Run, spoil: Spoil, tmp_path: Path, capsys: pytest.CaptureFixture[str], factor: float, reason: str
) -> None:
    """A loss in the third epoch that is not finite, or far above the start: nothing of that epoch is measured."""
    options = {"epochs": 5, "patience": 9}
    run(output=tmp_path / "good", **options)
    said = epoch_lines(capsys.readouterr().out)

    def change(passes: int, logits: torch.Tensor) -> torch.Tensor:
        return logits * factor if passes > 13 else logits

    spoil(change)
    found = TrainingRecord.model_validate_json((run(**options) / "training.json").read_bytes())
    printed = capsys.readouterr()
    assert re.search(f"^stopped: training diverged, {reason}; {RATHER}", printed.err, re.MULTILINE), printed.err
    assert epoch_lines(printed.out) == said[:2]
    assert found.best_epoch is not None
    assert f"loss {found.metrics['dev']['loss']:.4f}" in said[found.best_epoch - 1]


def test_answers_that_are_not_finite(run: Run, spoil: Spoil, capsys: pytest.CaptureFixture[str]) -> None:
    """Weights whose answers on dev are NaN are neither saved nor kept."""

    def change(passes: int, logits: torch.Tensor) -> torch.Tensor:
        # Two passes try the model before training, and each epoch ends with one.
        return logits * float("nan") if passes == 4 else logits

    spoil(change, training=False)
    output = run(epochs=5)
    printed = capsys.readouterr()
    assert "stopped: training diverged, the answers after epoch 2 are not finite;" in printed.err
    assert len(epoch_lines(printed.out)) == 1
    assert TrainingRecord.model_validate_json((output / "training.json").read_bytes()).best_epoch == 1


def test_diverged_in_the_first_epoch(run: Run, spoil: Spoil, tmp_path: Path) -> None:
    """With no epoch to keep, nothing is published, and one line says what to change."""
    spoil(lambda _, logits: logits * float("nan"))
    with pytest.raises(UserError, match=f"^training diverged in the first epoch: the loss of step 1 is nan; {RATHER}"):
        run()
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("losses", "stopped"),
    [
        ([4.0] * 10 + [6.0] * 90, False),
        ([4.0] * 10 + [100.0] + [4.0] * 50, False),
        ([4.0] * 10 + [30.0] * 10, True),
        # A checkpoint that knows the task, and batches that it finds hard.
        ([0.01] * 10 + [0.9] * 50, False),
        ([0.01] * 10 + [6.0] * 10, True),
    ],
)
def test_what_is_far_above_the_start(losses: list[float], stopped: bool) -> None:
    """Many steps at five times the first ones' loss, and at more than small losses vary by."""
    watch, control = Divergence(), TrainerControl()
    for loss in losses:
        watch.add(loss)
        watch.on_step_end(None, TrainerState(), control)  # type: ignore[arg-type]
    assert control.should_training_stop == stopped


def refuse(_: torch.Tensor) -> NoReturn:
    raise torch.OutOfMemoryError("CUDA out of memory")


def too_large(_: int, logits: torch.Tensor) -> torch.Tensor:
    return refuse(logits) if len(logits) > 2 else logits


@pytest.mark.parametrize("accumulation", [1, 2])
@pytest.mark.parametrize("where", ["forward", "backward"])
def test_batches_that_do_not_fit(
    run: Run,
    spoil: Spoil,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    accumulation: int,
    where: str,
) -> None:
    """Where memory is for 2 texts, batches of 8 run in 4 parts, and the model is that of enough memory."""
    # The parts draw other dropout.
    options = {"dropout": 0.0, "gradient_accumulation": accumulation}
    whole = logits(run(output=tmp_path / "whole", **options))
    if where == "forward":
        spoil(too_large)
    else:
        embeddings = torch.nn.functional.embedding

        def watched(*args: Any, **named: Any) -> torch.Tensor:  # noqa: ANN401
            """By the time that its gradient is there, the layers above it have added theirs to the weights."""
            result = embeddings(*args, **named)
            if result.requires_grad and result.ndim == 3 and len(result) > 2:
                result.register_hook(refuse)
            return result

        monkeypatch.setattr(torch.nn.functional, "embedding", watched)
    capsys.readouterr()
    parts = logits(run(**options))
    said = [line for line in capsys.readouterr().err.splitlines() if "out of GPU memory" in line]
    assert [re.search(r"runs in \d parts", line)[0] for line in said] == ["runs in 2 parts", "runs in 4 parts"]  # type: ignore[index]
    assert parts == [pytest.approx(row, abs=1e-3) for row in whole]


def test_one_text_that_does_not_fit(run: Run, spoil: Spoil) -> None:
    """Where not even one text fits, one line says what to change."""
    spoil(lambda _, logits: refuse(logits))
    with pytest.raises(UserError, match=r"^out of GPU memory with one text of \d+ tokens; lower --max-length or"):
        run()


def test_memory_that_runs_out_elsewhere(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """What smaller batches do not help, such as AdamW's moments, is one line too."""
    monkeypatch.setattr(torch.optim.AdamW, "step", lambda *_, **__: refuse(torch.zeros(0)))
    with pytest.raises(UserError, match=r"^out of GPU memory; choose a smaller --model"):
        run()
