"""Abstaining: the threshold that is chosen, what is recorded, and what is refused."""

from collections.abc import Callable
from pathlib import Path

import numpy
import pytest

from bertwire_core.errors import UserError
from bertwire_core.scope import scopes
from bertwire_data.tables import open_table
from bertwire_trainer.record import TrainingRecord
from bertwire_trainer.stages.abstain import choose_threshold

Run = Callable[..., Path]
Rows = list[tuple[str, str]]


def record(output: Path) -> TrainingRecord:
    return TrainingRecord.model_validate_json((output / "training.json").read_bytes())


def dev_scopes(output: Path) -> "numpy.typing.NDArray[numpy.float64]":
    """The scopes of dev by the logits that the checkpoint holds."""
    reader = open_table(output / "predictions" / "dev.jsonl")
    rows = [row["logits"] for batch in reader.batches(100) for row in batch.rows]
    reader.close()
    return scopes(numpy.array(rows, numpy.float32))


def test_scope_is_the_log_of_the_sum() -> None:
    """It is exact for logits whose exponents overflow, and keeps all axes but the last."""
    assert scopes(numpy.array([[1e4, 1e4], [0, 0]])) == pytest.approx([1e4 + numpy.log(2), numpy.log(2)])
    assert scopes(numpy.zeros(3)) == pytest.approx(numpy.log(3))


@pytest.mark.parametrize(("refused", "threshold"), [(1, 1.5), (2, 2.5), (4, 4.5)])
def test_threshold_lies_between_two_texts(refused: int, threshold: float) -> None:
    """As many as allowed are below it, and none is next to it."""
    assert choose_threshold(numpy.array([5.0, 1, 2, 4, 3]), refused) == threshold


def test_equal_texts_are_refused_together_or_not_at_all() -> None:
    """Never more than allowed; where that leaves none it is an error."""
    assert choose_threshold(numpy.array([1.0, 2, 2, 2, 3]), 3) == 1.5
    with pytest.raises(UserError, match="same logits; raise --abstain-rate"):
        choose_threshold(numpy.array([2.0, 2, 2, 3]), 2)


@pytest.mark.parametrize("method", ["full", "frozen", "prototypes"])
def test_at_most_the_rate_of_dev_is_refused(run: Run, capsys: pytest.CaptureFixture[str], method: str) -> None:
    """By the logits of the published checkpoint; the options and the number are recorded and printed."""
    loop = {} if method == "full" else {"epochs": None, "batch_size": None, "learning_rate": None}
    output = run(method=method, abstain=True, abstain_rate=0.2, **loop)
    found = record(output).stages["abstain"]
    assert (found["abstain"], found["abstain_rate"], found["dev_refused"]) == (True, 0.2, 3)
    assert (dev_scopes(output) < found["threshold"]).sum() == 3
    assert "abstain: 3 of the 16 texts of dev are refused" in capsys.readouterr().err


def test_around_other_stages(run: Run) -> None:
    """The threshold is of what all other stages leave."""
    output = run(abstain=True, abstain_rate=0.2, augment=["swap"], prune=True, prune_layers=1)
    found = record(output).stages
    assert list(found) == ["abstain", "prune", "augment"]
    assert (dev_scopes(output) < found["abstain"]["threshold"]).sum() == 3


def test_folds_go_without(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    """A fold's dev, where the rate is of no text, is not asked for a threshold; other stages are in every training."""
    output = run(folds=2, abstain=True, abstain_rate=0.07, augment=["swap"], epochs=1)
    printed = capsys.readouterr().err
    assert (printed.count("abstain: "), printed.count("augment: ")) == (1, 3)
    assert record(output).folds is not None


def test_refuses_a_rate_of_no_text(run: Run) -> None:
    """Before anything is trained."""
    with pytest.raises(UserError, match=r"^--abstain-rate 0.05 of 16 dev texts is less than one text; add rows to dev"):
        run(abstain=True)


def test_refuses_other_tasks(run: Run, tmp_path: Path) -> None:
    """Several labels, tags and numbers have no one class that a text may lack."""
    path = tmp_path / "several.jsonl"
    path.write_text('{"text": "w1", "labels": ["a"]}\n{"text": "w2", "labels": ["b"]}\n' * 4)
    with pytest.raises(UserError, match=r"^--abstain is for single_label; this is multi_label$"):
        run(train=path, dev=path, abstain=True)


def test_a_new_class_ends_it(run: Run, tmp_path: Path, write_rows: Callable[[str, Rows], Path]) -> None:
    """A threshold chosen without a class does not judge its texts; the command says so."""
    from bertwire_trainer.add_class.config import AddClassConfig
    from bertwire_trainer.add_class.extend import extend
    from bertwire_trainer.add_class.prepare import prepare

    loop = {"epochs": None, "batch_size": None, "learning_rate": None}
    checkpoint = run(method="prototypes", episodes=0, abstain=True, abstain_rate=0.2, **loop)
    examples = write_rows("new.jsonl", [("w60 w61", "spam")])
    output = tmp_path / "more"
    extend(prepare(AddClassConfig(checkpoint=checkpoint, examples=examples, output=output)))
    assert "abstain" in record(checkpoint).stages
    assert "abstain" not in record(output).stages
