"""Stages: their options on the command line, and what is recorded of several of them."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import typer
from pydantic import BaseModel
from typer.testing import CliRunner

from bertwire_core.errors import UserError
from bertwire_trainer.cli import train
from bertwire_trainer.config import RunConfig
from bertwire_trainer.methods import METHODS
from bertwire_trainer.stages import STAGES

Rows = list[tuple[str, str]]

app = typer.Typer(rich_markup_mode=None)
app.command()(train)


@pytest.mark.parametrize("stage", STAGES)
def test_names_of_options(stage: str) -> None:
    """The option of the stage's name asks for it; the others begin with that, and none is a run's or a method's."""
    own = set(STAGES[stage].Options.model_fields)
    assert stage in own
    assert all(name.startswith(f"{stage}_") for name in own - {stage})
    others: list[type[BaseModel]] = [RunConfig, *(method.Options for method in METHODS.values())]
    assert all(own.isdisjoint(each.model_fields) for each in others)


def test_several(
    tiny: Path, tmp_path: Path, write_rows: Callable[[str, Rows], Path], separable: Callable[..., Rows]
) -> None:
    """A command line of strings runs the stages in their order, and records each with its defaults."""
    rows = write_rows("train.jsonl", separable(24))
    files = ["--train", rows, "--adapt", rows, "--adapt", write_rows("more.jsonl", separable(24, 100))]
    options = ["--augment", "swap", "--augment", "delete", "--augment-copies", 2, "--method", "lora", "--epochs", 1]
    line = [*files, *options, "--model", tiny, "--output", tmp_path / "out", "--max-length", 16]
    result = CliRunner().invoke(app, [str(each) for each in line], catch_exceptions=False)
    assert result.exit_code == 0
    recorded = json.loads((tmp_path / "out" / "training.json").read_text())
    assert list(recorded["stages"]) == ["adapt", "augment"]
    assert (recorded["stages"]["adapt"]["adapt"], recorded["stages"]["adapt"]["texts"]) == (
        ["train.jsonl", "more.jsonl"],
        48,
    )
    augment = recorded["stages"]["augment"]
    assert augment | {"augment": ["swap", "delete"], "augment_copies": 2, "augment_share": 0.1} == augment
    assert recorded["method"] == "lora"
    assert not any(name.startswith(("adapt", "augment")) for name in recorded["recipe"])


def test_option_without_its_stage(tmp_path: Path) -> None:
    """An option of a stage that is not asked for is one line."""
    line = ["--train", "a.csv", "--output", str(tmp_path / "out"), "--adapt-epochs", "2"]
    with pytest.raises(UserError, match=r"^--adapt-epochs needs --adapt$"):
        CliRunner().invoke(app, line, catch_exceptions=False)
