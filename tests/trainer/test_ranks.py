"""Training in two processes, on gloo, as torchrun starts them."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from support import in_process

BERTWIRE = str(Path(sys.executable).with_name("bertwire"))
Run = Callable[..., Path]


def logits(folder: Path) -> list[list[float]]:
    lines = (folder / "predictions" / "dev.jsonl").read_text().splitlines()
    return [json.loads(line)["logits"] for line in lines]


@pytest.fixture
def torchrun(tiny: Path, tmp_path: Path) -> Callable[..., "subprocess.CompletedProcess[str]"]:
    """Runs `bertwire train` in two processes on the rows and with the options of the fixture `run`."""

    def start(*options: str) -> "subprocess.CompletedProcess[str]":
        places = [f"--{name}={tmp_path / name}.jsonl" for name in ("train", "dev")]
        command = [
            *(sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", "--no-python"),
            *(BERTWIRE, "train", *places, f"--output={tmp_path / 'two'}", f"--model={tiny}"),
            *("--max-length=16", "--precision=fp32", *options),
        ]
        return subprocess.run(command, capture_output=True, text=True, check=False, timeout=240)

    return start


def test_two_processes_are_one_with_twice_the_batches(run: Run, torchrun: Callable[..., Any], tmp_path: Path) -> None:
    """Each step has a batch of either process: the model is that of one process that accumulates two batches."""
    one = run(dropout=0.0, gradient_accumulation=2)
    done = torchrun("--pooling=own", "--batch-size=8", "--learning-rate=3e-3", "--dropout=0", "--epochs=2")
    assert done.returncode == 0, done.stderr
    assert logits(tmp_path / "two") == [pytest.approx(row, abs=1e-3) for row in logits(one)]
    assert done.stdout.count("epoch 2: dev") == 1
    assert not (tmp_path / "two.partial").exists()
    assert (tmp_path / "two" / "report.html").is_file()


@pytest.mark.usefixtures("run")
def test_methods_that_need_one_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """They are refused with the reason in every process that torchrun starts, before any waits for another."""
    monkeypatch.setenv("WORLD_SIZE", "2")
    for rank in ("0", "1"):
        monkeypatch.setenv("RANK", rank)
        done = in_process(
            "train", "--method", "frozen", "--train", tmp_path / "train.jsonl", "--output", tmp_path / "x"
        )
        assert done.exit_code == 1
        assert done.stderr == (
            "bertwire: error: --method frozen trains in one process; start bertwire without torchrun\n"
        )
    assert not (tmp_path / "x").exists()
