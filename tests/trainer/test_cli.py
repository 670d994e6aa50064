"""The command `bertwire train`."""

import json
import os
import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from bertwire_core.errors import UserError
from bertwire_core.files import in_use
from bertwire_trainer.cli import train
from bertwire_trainer.config import TrainConfig
from bertwire_trainer.methods import METHODS
from bertwire_trainer.methods.options import flag
from support import bertwire

WriteRows = Callable[[str, list[tuple[str, str]]], Path]
Separable = Callable[..., list[tuple[str, str]]]


app = typer.Typer(rich_markup_mode=None)
app.command()(train)


def invoke(*arguments: object) -> None:
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    if result.exception:
        raise result.exception


def test_import_is_light() -> None:
    """The module that --help needs imports neither torch nor transformers nor datasets."""
    heavy = "{'torch', 'transformers', 'datasets', 'sklearn', 'numpy'}"
    code = f"import sys, bertwire_trainer.cli; print(sorted({heavy} & set(sys.modules)))"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"


def test_every_setting_is_an_option_with_help() -> None:
    """--help lists each field of the configuration."""
    shown = CliRunner().invoke(app, ["--help"], env={"COLUMNS": "200", "TERMINAL_WIDTH": "200"}).output
    for name, field in TrainConfig.model_fields.items():
        assert flag(name) in shown
        assert (field.description or "")[:20] in shown
    assert "[default: 0.0, lora 0.001, ia3 0.003, few-shot 0.0001, prototypes 2e-05]" in " ".join(shown.split())


@pytest.mark.parametrize(
    ("options", "recipe"),
    [
        (["--class-weights", "balanced"], {"class_weights": "balanced", "learning_rate": 5e-4}),
        (["--method", "lora", "--lora-rank", 4], {"lora_rank": 4, "lora_target": [], "learning_rate": 1e-3}),
    ],
)
def test_command(
    tiny: Path,
    tmp_path: Path,
    write_rows: WriteRows,
    separable: Separable,
    options: list[object],
    recipe: dict[str, object],
) -> None:
    """A command line of strings trains to the end, with the defaults of its method."""
    files = ["--train", write_rows("train.jsonl", separable(24)), "--output", tmp_path / "out"]
    invoke(*files, "--model", tiny, "--epochs", 1, "--max-length", 16, "--no-report", *options)
    recorded = json.loads((tmp_path / "out" / "training.json").read_text())["recipe"]
    assert recorded | recipe == recorded


def test_task_that_the_method_lacks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A method that cannot train the task is refused with the tasks that it can train."""
    monkeypatch.setattr(METHODS["lora"], "tasks", frozenset({"single_label", "regression"}))
    with pytest.raises(UserError, match=r"^--method lora is for regression and single_label; this is multi_label$"):
        invoke("--train", "a.csv", "--task", "multi_label", "--method", "lora", "--output", tmp_path / "out")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "pass either --train or --dataset"),
        (["--train", "a.csv", "--dataset", "org/x"], "pass either --train or --dataset"),
        (["--dataset", "org/x", "--dev", "a.csv"], "choose --dev-split and --test-split"),
        (
            ["--train", "a.csv", "--dev", "a.csv", "--dev-fraction", "0.2"],
            "^--dev-fraction cuts dev .* and --dev gives",
        ),
        (
            ["--train", "a.csv", "--batch-size", "8", "--batch-tokens", "9"],
            "^--batch-size and --batch-tokens both bound",
        ),
        (
            ["--train", "a.csv", "--train-split", "first", "--test-split", "test"],
            "^--train-split needs --dataset; --test-split needs --dataset$",
        ),
        (["--train", "a.csv", "--chunk-overlap", "16"], "^--chunk-overlap needs --chunks$"),
        (
            ["--train", "a.csv", "--chunk-overlap", "16", "--chunks", "1"],
            "^--chunk-overlap needs --chunks of 2 at least$",
        ),
        (
            ["--train", "a.csv", "--method", "distill", "--distill-column", "a"],
            "^--distill-column needs --distill-texts$",
        ),
        (
            ["--train", "a.csv", "--method", "prototypes", "--episodes", "0", "--ways", "3"],
            "^--ways needs --episodes of 1 at least$",
        ),
        (["--train", "a.csv", "--epochs", "-1", "--dev-fraction", "1"], "--dev-fraction: .*; --epochs: "),
        (["--train", "missing.csv"], "missing.csv: no such file"),
        (["--train", "a.csv", "--model", "./nowhere"], "no such folder"),
        (["--train", "a.csv", "--model", "~no-such-user/x"], "no such folder"),
        (
            ["--train", "a.csv", "--task", "regression", "--class-weights", "balanced"],
            "--class-weights balanced is for",
        ),
        (["--train", "a.csv", "--task", "regression", "--label-smoothing", "0.1"], "--label-smoothing is for"),
        (["--train", "a.csv", "--task", "token_classification", "--text-pair-column", "b"], "is for whole texts"),
        (["--train", "a.csv", "--lora-rank", "8"], "^--lora-rank is an option of --method lora; this is full$"),
        (
            ["--train", "a.csv", "--method", "lora", "--layer-decay", "0.9"],
            "option of --method full; this is lora$",
        ),
        (["--train", "a.csv", "--method", "lor"], "^--method: there is no method 'lor'; there are full, lora, ia3, "),
        (["--train", "a.csv", "--method", "prefix"], "no method 'prefix', as what it adds cannot be merged into"),
        (["--train", "a.csv", "--r-drop", "1", "--dropout", "0"], "^--r-drop compares two dropout passes"),
        (["--train", "a.csv", "--lora-dora"], "^--lora-dora is an option of --method lora; this is full$"),
        (["--train", "a.csv", "--lora-target", "query"], "^--lora-target is an option of --method lora; this is full$"),
        (["--train", "a.csv", "--method", "lora", "--lora-rank", "0"], "^--lora-rank: .* greater than or equal to 1$"),
    ],
)
def test_faulty_options(tmp_path: Path, arguments: list[str], message: str) -> None:
    """Options that contradict each other or are out of range are one line."""
    with pytest.raises(UserError, match=message):
        invoke(*arguments, "--output", tmp_path / "out")


def test_fp16_on_a_cpu(
    tiny: Path, tmp_path: Path, write_rows: WriteRows, monkeypatch: pytest.MonkeyPatch, separable: Separable
) -> None:
    """fp16 without a CUDA device is refused with what to choose."""
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    train = write_rows("train.jsonl", separable(24))
    with pytest.raises(UserError, match="choose fp32 or bf16"):
        invoke("--train", train, "--output", tmp_path / "out", "--model", tiny, "--precision", "fp16")


@pytest.mark.parametrize("overwrite", [[], ["--overwrite"]])
@pytest.mark.parametrize(
    ("output", "message"),
    [
        (".", "holds the folder you are in"),
        ("..", "holds the folder you are in"),
        ("/", "holds the folder you are in"),
        ("~no-such-user/x", "no such home folder"),
    ],
)
def test_outputs_that_cannot_be(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, output: str, message: str, overwrite: list[str]
) -> None:
    """A checkpoint replaces neither the folder that one is in nor one above it, and needs a home that exists."""
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=message):
        invoke("--train", "a.csv", "--output", output, *overwrite)


@pytest.mark.parametrize("option", ["--overwrite", "--resume"])
def test_output_of_a_run_that_is_alive(tmp_path: Path, option: str) -> None:
    """Neither the finished folder nor the one in the making is touched."""
    (tmp_path / "out.partial").mkdir()
    with in_use(tmp_path / "out"), pytest.raises(UserError, match=f"out is in use by process {os.getpid()}"):
        invoke("--train", "a.csv", "--output", tmp_path / "out", option)
    assert [path.name for path in tmp_path.iterdir()] == ["out.partial"]


def test_any_locale_and_no_standard_streams(tiny: Path, tmp_path: Path) -> None:
    """Files are UTF-8 where the locale is ASCII, and a run whose output leads nowhere ends well."""
    rows = [
        {"text": f"w{number} {word}", "label": label}
        for number in range(8)
        for word, label in (("good", "très"), ("bad", "坏"))
    ]
    train = tmp_path / "données.jsonl"
    train.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    options = ["--train", train, "--output", tmp_path / "out", "--model", tiny, "--epochs", 1, "--max-length", 16]
    options.append("--no-report")
    line = shlex.join(bertwire("train", *options))
    environment = os.environ | {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    assert subprocess.run(["/bin/bash", "-c", f"{line} <&- >&- 2>&-"], env=environment, check=False).returncode == 0
    record = json.loads((tmp_path / "out" / "training.json").read_text(encoding="utf-8"))
    assert sorted(record["labels"]) == ["très", "坏"]


def test_faults_are_found_before_pytorch_is_loaded(tmp_path: Path) -> None:
    """Faulty rows, a missing model and an impossible output are refused without the seconds that PyTorch takes."""
    (tmp_path / "a.csv").write_text("text,label\nx,\n")
    code = """
import sys
from bertwire_core.errors import UserError
from bertwire_trainer.cli import run_train
from bertwire_trainer.config import TrainConfig
from bertwire_trainer.methods import METHODS
for options in ({}, {"model": "./nowhere"}, {"output": "."}):
    try:
        run_train(TrainConfig(**({"train": "a.csv", "output": "out"} | options)))
    except UserError as error:
        print(error)
print(sorted({"torch", "transformers"} & set(sys.modules)))
"""
    path = os.pathsep.join(map(os.path.abspath, sys.path))
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": path},
    )
    lines = done.stdout.splitlines()
    assert (len(lines), lines[-1]) == (4, "[]")
