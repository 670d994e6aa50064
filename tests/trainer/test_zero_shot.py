"""Zero-shot: the linear layer is the scaled vectors of the labels' descriptions."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoTokenizer

from bertwire_core.errors import UserError
from bertwire_core.pooled import load_pooled
from bertwire_trainer.config import TrainConfig
from bertwire_trainer.prepare import prepare
from bertwire_trainer.record import TrainingRecord
from bertwire_trainer.train import train_model
from rows import numbered, several, write

Run = Callable[..., Path]
DESCRIBED = {"positive": "good w1", "negative": "bad w1", "other_one": "w50 w51"}


@pytest.fixture
def zero_shot(tiny: Path, tmp_path: Path, write_rows: Any, separable: Any) -> Run:  # noqa: ANN401
    """Makes a checkpoint from descriptions, with 24 rows of train and 40 of dev; gives the output."""
    train, dev = write_rows("train.jsonl", separable(24)), write_rows("dev.jsonl", separable(40, 100))

    def start(**options: Any) -> Path:  # noqa: ANN401
        given = {
            "train": train,
            "dev": dev,
            "output": tmp_path / "out",
            "model": str(tiny),
            "max_length": 16,
            "method": "zero-shot",
            "report": False,
        }
        config = TrainConfig(**(given | options))
        train_model(prepare(config))
        return config.output

    return start


def record(output: Path) -> TrainingRecord:
    return TrainingRecord.model_validate_json((output / "training.json").read_bytes())


def assert_rows_stand_for(output: Path, texts: list[str]) -> None:
    """Each row of the linear layer is the scaled vector of a text."""
    model, scale = load_pooled(output), record(output).chosen["scale"]
    assert model is not None
    tokenizer = AutoTokenizer.from_pretrained(output)
    for row, text in zip(model.head.weight.detach(), texts, strict=True):
        batch = tokenizer([text], return_tensors="pt")
        with torch.inference_mode():
            mask = batch["attention_mask"]
            expected = scale * model.read(model.encode(batch["input_ids"], mask), mask)[0]
        torch.testing.assert_close(row, expected, rtol=1e-4, atol=1e-4)
    assert not model.head.bias.any()


def test_names_of_labels_stand_for_them(zero_shot: Run, tiny: Path) -> None:
    """Without descriptions the names do, and no weight of the encoder changes."""
    output = zero_shot()
    assert_rows_stand_for(output, ["negative", "positive"])
    before, after = load_file(tiny / "model.safetensors"), load_file(output / "model.safetensors")
    assert all(torch.equal(after[f"bert.{name}"], each) for name, each in before.items() if "pooler" not in name)
    assert record(output).best_epoch is None


def test_names_are_put_into_a_template(zero_shot: Run, write_rows: Any) -> None:  # noqa: ANN401
    """Spaces replace _ in the name of a label."""
    rows = [(f"w{number} good", "w1_w2" if number % 2 else "bad") for number in range(24)]
    output = zero_shot(train=write_rows("named.jsonl", rows), dev=None, label_template="w3 {} w4")
    assert_rows_stand_for(output, ["w3 bad w4", "w3 w1 w2 w4"])
    assert record(output).recipe["label_template"] == "w3 {} w4"


@pytest.mark.parametrize("ending", ["json", "csv", "jsonl"])
def test_descriptions_add_labels(
    zero_shot: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str], ending: str
) -> None:
    """A label that train lacks has a row from its description, and is named; dev may have rows of it."""
    file = tmp_path / f"labels.{ending}"
    lines = {
        "json": [json.dumps(DESCRIBED)],
        "csv": ["label,description", *(f"{label},{text}" for label, text in DESCRIBED.items())],
        "jsonl": [json.dumps({"label": label, "description": text}) for label, text in DESCRIBED.items()],
    }
    file.write_text("\n".join(lines[ending]) + "\n")
    output = zero_shot(label_descriptions=file)
    found = record(output)
    assert found.labels == ["negative", "other_one", "positive"]
    assert_rows_stand_for(output, [DESCRIBED[label] for label in found.labels])
    assert found.recipe["label_descriptions"]["source"] == file.name
    assert len(found.recipe["label_descriptions"]["sha256"]) == 64
    assert "added by their descriptions: other_one" in capsys.readouterr().err


def test_train_of_one_label(zero_shot: Run, tmp_path: Path, write_rows: Any) -> None:  # noqa: ANN401
    """Where train has one label, the descriptions give the others; dev has rows of one that train lacks."""
    file = tmp_path / "labels.json"
    file.write_text(json.dumps({"negative": "bad"}))
    train = write_rows("one.jsonl", [(f"good w{number}", "positive") for number in range(8)])
    output = zero_shot(train=train, label_descriptions=file)
    assert record(output).labels == ["negative", "positive"]
    assert_rows_stand_for(output, ["bad", "positive"])


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("labels.json", "[1, 2]", "must be a JSON object from each label to its description$"),
        ("labels.json", "{", "is not JSON"),
        ("labels.json", "{}", "describes no label$"),
        ("labels.json", '{"a": 3}', "has faulty rows: .*a text that is no string in column 'description'"),
        ("labels.json", '{"a": " "}', "has faulty rows: .*empty, blank or null"),
        ("labels.json", '{"a": "x", "a": "y"}', "describes label 'a' more than once; keep one$"),
        ("labels.json", '{"a": "x\\ud800"}', "not UTF-8"),
        ("labels.csv", "label,text\na,x\n", "has no column 'description'; it needs label and description$"),
        ("labels.csv", "label,description\na,\n", "has faulty rows"),
        ("labels.ods", "a", "cannot tell the format"),
        ("nowhere.json", None, "no such file"),
    ],
)
def test_faulty_descriptions(zero_shot: Run, tmp_path: Path, name: str, content: str | None, message: str) -> None:
    """They are refused in one line, before anything is written."""
    file = tmp_path / name
    if content is not None:
        file.write_text(content)
    with pytest.raises(UserError, match=message) as error:
        zero_shot(label_descriptions=file)
    assert "\n" not in str(error.value)
    assert not (tmp_path / "out.partial").exists()


def test_template_without_a_place(zero_shot: Run) -> None:
    """The name of the label goes somewhere."""
    with pytest.raises(UserError, match=r"^--label-template: it must have \{\} once"):
        zero_shot(label_template="This text is about it.")


@pytest.mark.parametrize(("make", "task"), [(several, "multi_label"), (numbered, "regression")])
def test_other_tasks(zero_shot: Run, tmp_path: Path, make: Callable[[int], dict[str, Any]], task: str) -> None:
    """Tasks without one class for each text are refused, with the reason."""
    train = write(tmp_path / "other.jsonl", make, range(30))
    with pytest.raises(UserError, match=rf"^--method zero-shot is for single_label; this is {task}, where a text has"):
        zero_shot(train=train, dev=None)
