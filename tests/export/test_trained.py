"""A model that decides otherwise than after training is found out by the predictions that the trainer left."""

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest

from bertwire_core.errors import UserError
from bertwire_core.tasks import Task
from bertwire_data.labelled import Labelled, encode_targets
from bertwire_export.checkpoint import Checkpoint
from bertwire_export.examples import Examples
from bertwire_export.reference import SplitReference
from bertwire_export.trained import held_out, require_trained

CHANGED = "its files were changed since, train again"


def require(folder: Path, task: Task, labels: list[str], logits: list[list[float]], predicted: list[Any]) -> None:
    """Holds logits, one row a text or a word, against what the trainer predicted for each text."""
    path = held_out(folder, "dev")
    path.parent.mkdir(parents=True)
    path.write_text("".join(json.dumps({} if each is None else {"predicted": each}) + "\n" for each in predicted))
    by_word = task == "token_classification"
    inputs = [["w"] * len(each) for each in predicted] if by_word else ["w"] * len(predicted)
    # Any targets do: they are not what is compared.
    targets = {"regression": 1.0, "multi_label": [], "single_label": labels[0]}
    any_targets = [["O"] * len(each) for each in inputs] if by_word else [targets[task]] * len(inputs)
    labelled = Labelled("dev", task, inputs, cast(Any, any_targets), list(range(1, len(inputs) + 1)))
    examples = Examples(labelled, labels, [], encode_targets(labelled, labels), None)
    checkpoint = SimpleNamespace(path=folder, training=SimpleNamespace(task=task, labels=labels))
    require_trained(cast(Checkpoint, checkpoint), SplitReference(examples, np.array(logits, np.float32)))


def test_a_decision_on_the_edge_may_turn(tmp_path: Path) -> None:
    """Of a hundred decisions one may differ, as it can between machines, and of fifty too; of a hundred not two."""
    logits = [[1.0, 0.0]] * 100
    require(tmp_path / "one", "single_label", ["x", "y"], logits, ["y"] + ["x"] * 99)
    require(tmp_path / "few", "single_label", ["x", "y"], logits[:50], ["y"] + ["x"] * 49)
    with pytest.raises(UserError, match=f"decides 98 of 100 dev rows as it did after training; {CHANGED}"):
        require(tmp_path / "two", "single_label", ["x", "y"], logits, ["y"] * 2 + ["x"] * 98)


def test_every_label_of_a_text_counts(tmp_path: Path) -> None:
    """The labels of a text are the same only together, by the threshold 0.5 that training knew."""
    logits = [[1.0, -1.0], [-1.0, -1.0]] * 2
    require(tmp_path / "same", "multi_label", ["x", "y"], logits, [["x"], []] * 2)
    with pytest.raises(UserError, match="decides 2 of 4"):
        require(tmp_path / "other", "multi_label", ["x", "y"], logits, [["x", "y"], []] * 2)


def test_every_tag_of_a_text_counts(tmp_path: Path) -> None:
    """The tags of a text are the same only together."""
    logits = [[1.0, 0.0], [0.0, 1.0], [1.0, 0.0]] * 2
    require(tmp_path / "same", "token_classification", ["O", "B-x"], logits, [["O", "B-x"], ["O"]] * 2)
    with pytest.raises(UserError, match="decides 2 of 4"):
        require(tmp_path / "other", "token_classification", ["O", "B-x"], logits, [["B-x", "B-x"], ["O"]] * 2)


def test_numbers_may_differ_by_rounding(tmp_path: Path) -> None:
    """A number is the same within a hundredth."""
    require(tmp_path / "same", "regression", ["stars"], [[100.0], [0.0]], [100.9, 0.009])
    with pytest.raises(UserError, match="decides 0 of 2"):
        require(tmp_path / "other", "regression", ["stars"], [[100.0], [0.0]], [102.0, 0.02])
    with pytest.raises(UserError, match="decides 2 of 4"):
        require(tmp_path / "text", "regression", ["stars"], [[100.0], [0.0]] * 2, ["100", 0] * 2)


def test_rows_without_predictions_are_named(tmp_path: Path) -> None:
    """A file whose predictions were taken out proves nothing."""
    with pytest.raises(UserError, match="has rows without predictions"):
        require(tmp_path, "single_label", ["x", "y"], [[1.0, 0.0]] * 2, ["x", None])
