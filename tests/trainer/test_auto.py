"""The method that suits the rows."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from bertwire_core.errors import UserError
from bertwire_trainer.auto import FEW, FEW_LABELS, Facts, choose

Run = Callable[..., Path]


@pytest.mark.parametrize(
    ("facts", "given", "method", "reason"),
    [
        (Facts("single_label", 2, 1.0, named=True), [], "zero-shot", "fewer than 2 rows a label"),
        (Facts("single_label", 2, 1.0, named=False), [], "frozen", f"1.0 rows a label, fewer than {FEW}"),
        (
            Facts("multi_label", FEW_LABELS, FEW - 1, named=True),
            [],
            "few-shot",
            f"15.0 rows a label, fewer than {FEW}, and {FEW_LABELS} labels",
        ),
        (
            Facts("single_label", FEW_LABELS + 1, FEW - 1, named=True),
            [],
            "frozen",
            f"15.0 rows a label, fewer than {FEW}",
        ),
        (Facts("regression", 1, 3, named=True), [], "frozen", f"3.0 rows a label, fewer than {FEW}"),
        (Facts("multi_label", 9, FEW, named=True), [], "full", "16 rows a label"),
        (Facts("single_label", 77, 100, named=True), [], "full", "100 rows a label"),
        (Facts("regression", 1, 100, named=True), [], "full", "100 rows a label"),
        (Facts("token_classification", 5, 3, named=True), [], "full", "each word has a tag"),
        (Facts("single_label", 2, 100, named=True), ["lora_rank"], "lora", "--lora-rank, which it has"),
        (Facts("single_label", 2, 3, named=True), ["epochs"], "full", "3 rows a label"),
    ],
)
def test_choice(facts: Facts, given: list[str], method: str, reason: str) -> None:
    """The method follows from the task, the rows a label, the labels and the options that are set."""
    assert choose(facts, given) == (method, reason)


def test_options_that_no_method_has() -> None:
    """Options of several methods leave none to choose."""
    with pytest.raises(UserError, match="no method for single_label has --lora-rank and --episodes"):
        choose(Facts("single_label", 2, 3, named=True), ["lora_rank", "episodes"])


def test_auto_is_recorded(run: Run) -> None:
    """training.json has the method that was chosen, and the line that says why; the recipe has the method."""
    output = run(method="auto", epochs=None, batch_size=None, learning_rate=None)
    record = json.loads((output / "training.json").read_text())
    assert record["method"] == "full"
    assert record["remarks"][0] == "--method auto: full, for 24 rows a label"
    assert "method: full\n" in (output / "recipe.yaml").read_text()
