"""Classes added to a checkpoint of prototypes from a few examples."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import typer
from safetensors.torch import load_file
from transformers import AutoTokenizer
from typer.testing import CliRunner

from bertwire_core.errors import UserError
from bertwire_core.pooled import PooledClassifier, load_pooled
from bertwire_trainer.add_class.cli import add_class
from bertwire_trainer.record import TrainingRecord
from rows import numbered, paired, write

Run = Callable[..., Path]
WriteRows = Callable[[str, list[tuple[str, str]]], Path]
NEW = [("w60 w61", "spam"), ("w61 w62", "spam"), ("w70", "a_third")]

app = typer.Typer(rich_markup_mode=None)
app.command()(add_class)


def add(checkpoint: Path, examples: Path, output: Path, *options: str) -> Path:
    arguments = [checkpoint, "--examples", examples, "--output", output, *options]
    result = CliRunner().invoke(app, [str(each) for each in arguments])
    if result.exception:
        raise result.exception
    return output


@pytest.fixture
def checkpoint(run: Run, tmp_path: Path, write_rows: WriteRows, separable: Any) -> Path:  # noqa: ANN401
    """A checkpoint of prototypes for two labels, with dev and test."""
    options = {"epochs": None, "batch_size": None, "learning_rate": None}
    test = write_rows("test.jsonl", separable(12, 200))
    return run(method="prototypes", episodes=0, output=tmp_path / "before", test=test, **options)


@pytest.fixture
def examples(write_rows: WriteRows) -> Path:
    return write_rows("new.jsonl", NEW)


def record(output: Path) -> TrainingRecord:
    return TrainingRecord.model_validate_json((output / "training.json").read_bytes())


def loaded(output: Path) -> PooledClassifier:
    model = load_pooled(output)
    assert model is not None
    return model


def predictions(output: Path, split: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (output / "predictions" / f"{split}.jsonl").read_text().splitlines()]


def test_examples_become_labels(checkpoint: Path, examples: Path, tmp_path: Path) -> None:
    """The new labels come last, and their examples are recognized; all else is as it was."""
    output = add(checkpoint, examples, tmp_path / "after")
    before, found = record(checkpoint), record(output)
    assert found.labels == [*before.labels, "a_third", "spam"]
    model, old = loaded(output), loaded(checkpoint)
    assert model.config.id2label == dict(enumerate(found.labels))
    assert model.config.label2id == {label: place for place, label in enumerate(found.labels)}
    stored, stored_before = (load_file(folder / "model.safetensors") for folder in (output, checkpoint))
    assert all(torch.equal(stored[name], each) for name, each in stored_before.items() if "head" not in name)
    assert torch.equal(model.head.weight[:2], old.head.weight)
    torch.testing.assert_close(model.head.weight.norm(dim=1), old.head.weight.norm(dim=1).repeat(2))
    tokenizer = AutoTokenizer.from_pretrained(output)
    batch = tokenizer([text for text, _ in NEW], padding=True, return_tensors="pt", return_token_type_ids=False)
    with torch.inference_mode():
        best = model(**batch).logits.argmax(dim=1)
    assert [found.labels[place] for place in best] == [label for _, label in NEW]


def test_record_and_predictions_are_of_the_new_model(checkpoint: Path, examples: Path, tmp_path: Path) -> None:
    """training.json says what was added; predictions have a logit for each label, and the old ones are the same."""
    output = add(checkpoint, examples, tmp_path / "after")
    before, found = record(checkpoint), record(output)
    (added,) = found.added
    assert (added.labels, added.examples.source, added.examples.rows) == (["a_third", "spam"], "new.jsonl", 3)
    assert (found.data, found.recipe, found.method) == (before.data, before.recipe, before.method)
    for split in ("dev", "test"):
        rows, old = predictions(output, split), predictions(checkpoint, split)
        assert [row["text"] for row in rows] == [row["text"] for row in old]
        for row, one in zip(rows, old, strict=True):
            assert row["logits"][:2] == pytest.approx(one["logits"], abs=1e-4)
            assert row["predicted"] == found.labels[max(range(4), key=row["logits"].__getitem__)]
        right = sum(row["predicted"] == row["label"] for row in rows) / len(rows)
        assert found.metrics[split]["accuracy"] == pytest.approx(right)
    names = ("tokenizer.json", "tokenizer_config.json")
    assert all((output / name).read_bytes() == (checkpoint / name).read_bytes() for name in names)


def test_added_to_again(checkpoint: Path, examples: Path, tmp_path: Path, write_rows: WriteRows) -> None:
    """The result is a checkpoint like any other, to which labels can be added."""
    once = add(checkpoint, examples, tmp_path / "once")
    twice = add(once, write_rows("more.jsonl", [("w80 w81", "more")]), tmp_path / "twice")
    assert record(twice).labels == [*record(once).labels, "more"]
    assert [each.labels for each in record(twice).added] == [["a_third", "spam"], ["more"]]
    with pytest.raises(UserError, match="exists already; choose another output or pass --overwrite"):
        add(checkpoint, examples, twice)
    assert record(add(checkpoint, examples, twice, "--overwrite")).labels == record(once).labels


def test_columns_of_a_table(checkpoint: Path, tmp_path: Path) -> None:
    """CSV with other column names is read like the rows of training."""
    file = tmp_path / "new.csv"
    file.write_text("words,kind\nw60 w61,spam\n")
    output = add(checkpoint, file, tmp_path / "after", "--text-column", "words", "--label-column", "kind")
    assert record(output).labels[-1] == "spam"


def test_zero_shot_takes_examples_too(run: Run, examples: Path, tmp_path: Path) -> None:
    """Its head is of the same kind."""
    base = run(method="zero-shot", output=tmp_path / "before", epochs=None, batch_size=None, learning_rate=None)
    assert record(add(base, examples, tmp_path / "after")).labels == ["negative", "positive", "a_third", "spam"]


def test_known_label(checkpoint: Path, tmp_path: Path, write_rows: WriteRows) -> None:
    """A label that the checkpoint has is not added to, and nothing is written."""
    file = write_rows("known.jsonl", [*NEW, ("w9", "positive")])
    with pytest.raises(UserError, match=r"has label 'positive', which the checkpoint knows; only new labels"):
        add(checkpoint, file, tmp_path / "after")
    assert not (tmp_path / "after").exists()


@pytest.mark.parametrize("options", [{"pooling": "mean", "normalize": True}, {}, {"method": "frozen"}])
def test_head_of_another_kind(run: Run, examples: Path, tmp_path: Path, options: dict[str, Any]) -> None:
    """Checkpoints of other methods are refused in one line."""
    loop = {"epochs": None, "batch_size": None, "learning_rate": None} if "method" in options else {"epochs": 1}
    base = run(output=tmp_path / "before", **(loop | options))
    with pytest.raises(UserError, match=r"its head has no vector of one length .* --method prototypes or zero-shot$"):
        add(base, examples, tmp_path / "after")
    assert not (tmp_path / "after").exists()


def test_checkpoints_that_are_none(checkpoint: Path, examples: Path, tmp_path: Path) -> None:
    """A missing, partial or damaged folder is one line."""
    after = tmp_path / "after"
    with pytest.raises(UserError, match="nowhere: no such checkpoint; bertwire train writes one"):
        add(tmp_path / "nowhere", examples, after)
    with pytest.raises(UserError, match=r"new\.jsonl: no such file"):
        add(checkpoint, tmp_path / "gone" / "new.jsonl", after)
    with pytest.raises(UserError, match=r"holds .*before, which would be lost with it|is also .*before"):
        add(checkpoint, examples, checkpoint, "--overwrite")
    (checkpoint / "model.safetensors").write_bytes(b"x" * 64)
    with pytest.raises(UserError, match="before cannot be loaded: "):
        add(checkpoint, examples, after)
    (checkpoint / "training.json").write_text("{}")
    with pytest.raises(UserError, match=r"training\.json is wrong at task: "):
        add(checkpoint, examples, after)
    (checkpoint / "training.json").unlink()
    with pytest.raises(UserError, match=r"before has no training\.json; it is not a checkpoint written by"):
        add(checkpoint, examples, after)


def test_other_tasks(run: Run, examples: Path, tmp_path: Path) -> None:
    """A regression has no classes, and pairs of texts want pairs."""
    files = {name: write(tmp_path / f"{name}-numbers.jsonl", numbered, range(32)) for name in ("train", "dev")}
    base = run(**files, output=tmp_path / "numbers", pooling="mean", epochs=1)
    with pytest.raises(UserError, match=r"is for regression, where texts have no classes; none can be added$"):
        add(base, examples, tmp_path / "after")
    files = {name: write(tmp_path / f"{name}-pairs.jsonl", paired, range(32)) for name in ("train", "dev")}
    unset = {"epochs": None, "batch_size": None, "learning_rate": None}
    base = run(**files, output=tmp_path / "pairs", method="prototypes", episodes=0, **unset)
    with pytest.raises(UserError, match=r"the checkpoint reads pairs of texts; see --text-pair-column$"):
        add(base, examples, tmp_path / "after")
    pairs = tmp_path / "pairs.jsonl"
    pairs.write_text(json.dumps({"text": "w1", "text_pair": "w60", "label": "maybe"}) + "\n")
    assert record(add(base, pairs, tmp_path / "after")).labels == ["no", "yes", "maybe"]
