"""Recipes: options of a run in a file."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import typer
import yaml
from safetensors.torch import load_file
from typer.testing import CliRunner

from bertwire_core.errors import UserError
from bertwire_trainer.cli import train
from bertwire_trainer.config import TrainConfig

WriteRows = Callable[[str, list[tuple[str, str]]], Path]
Separable = Callable[..., list[tuple[str, str]]]
Run = Callable[..., Path]

app = typer.Typer(rich_markup_mode=None)
app.command()(train)


def invoke(*arguments: object) -> None:
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    if result.exception:
        raise result.exception


def recipe(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


def test_recipe_of_a_checkpoint_gives_the_same_weights(tiny: Path, run: Run, tmp_path: Path) -> None:
    """The recipe in a checkpoint has every option but rows and output, and repeats the run exactly."""
    adapt = tmp_path / "unlabelled.txt"
    adapt.write_text("".join(f"w{number} w{number + 1} good\n" for number in range(20)), encoding="utf-8")
    options = {"method": "lora", "lora_target": ["query"], "pooling": "mean", "seed": 7, "adapt": [adapt]}
    first = run(**options, output=tmp_path / "first")
    written = yaml.safe_load((first / "recipe.yaml").read_text(encoding="utf-8"))
    assert written["model"] == "./tiny-bert"
    assert written["adapt"] == ["unlabelled.txt"]
    assert not {"train", "dev", "output", "overwrite", "text_column"} & set(written)
    files = ["--train", tmp_path / "train.jsonl", "--dev", tmp_path / "dev.jsonl", "--output", tmp_path / "second"]
    invoke("--recipe", first / "recipe.yaml", *files, "--model", tiny, "--adapt", adapt, "--no-report")
    one, other = (load_file(tmp_path / name / "model.safetensors") for name in ("first", "second"))
    assert all((one[name] == other[name]).all() for name in one)
    assert (tmp_path / "second" / "recipe.yaml").read_text() == (first / "recipe.yaml").read_text()


def test_options_given_win(tiny: Path, tmp_path: Path, write_rows: WriteRows, separable: Separable) -> None:
    """An option of the command line replaces that of the recipe, also where it is the default."""
    file = recipe(tmp_path / "r.yaml", f"model: {tiny}\nmax_length: 16\nepochs: 2\nlearning_rate: 1e-3\nseed: 5\n")
    files = ["--train", write_rows("train.jsonl", separable(24)), "--output", tmp_path / "out"]
    invoke("--recipe", file, *files, "--max-length", 32, "--epochs", 1, "--seed", 42, "--no-report")
    record = json.loads((tmp_path / "out" / "training.json").read_text())
    assert (record["max_length"], record["seed"]) == (32, 42)
    assert (record["recipe"]["epochs"], record["recipe"]["learning_rate"]) == (1, 1e-3)


def test_all_faults_at_once(tmp_path: Path) -> None:
    """Each faulty key is named with what is wrong with it."""
    text = "learning-rate: 1e-4\nepochs: many\nlora_rank: 4\ntrain: a.csv\nmethod: fro\nfrobnicate: 1\ndropout: 2\n"
    with pytest.raises(UserError) as caught:
        TrainConfig(recipe=recipe(tmp_path / "r.yaml", text), train="a.csv", output="out", method="full")
    faults = str(caught.value).removeprefix(f"{tmp_path / 'r.yaml'}: ").split("; ")
    assert faults[0:2] == ["learning-rate: no such option", "is learning_rate meant?"]
    assert faults[2].startswith("epochs: Input should be a valid integer")
    assert faults[3:5] == ["lora_rank: is an option of method lora", "this is full"]
    assert faults[5:7] == ["train: what is read, measured and written is no part of the file", "pass --train"]
    assert faults[7] == "method: there is no method 'fro'"
    assert faults[8].startswith("there are full, lora")
    assert faults[9] == "frobnicate: no such option of bertwire train"
    assert faults[10].startswith("dropout: Input should be less than 1")
    assert len(faults) == 11


def test_options_without_effect(tmp_path: Path) -> None:
    """A recipe may list the defaults of what is off; other values of it are one line."""
    rows = {"train": "a.csv", "output": "out"}
    listed = "abstain: false\nchunks: 1\nchunk_overlap: 32\n"
    assert not TrainConfig(recipe=recipe(tmp_path / "r.yaml", listed), **rows).stages
    other = recipe(tmp_path / "r.yaml", "abstain: false\nabstain_rate: 0.2\n")
    with pytest.raises(UserError, match=r"^--abstain-rate needs --abstain$"):
        _ = TrainConfig(recipe=other, **rows).stages


@pytest.mark.parametrize(
    ("text", "message"),
    [("- epochs", "has no options by name"), ("a: [", "is not YAML: "), (None, "no such file")],
)
def test_no_recipe(tmp_path: Path, text: str | None, message: str) -> None:
    """A file that holds no options is one line."""
    path = tmp_path / "r.yaml"
    if text is not None:
        path.write_text(text)
    with pytest.raises(UserError, match=message):
        TrainConfig(recipe=path, train="a.csv", output="out")
