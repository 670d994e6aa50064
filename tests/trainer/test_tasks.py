"""Every task from a file to the checkpoint folder, on a tiny checkpoint."""

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy
import pytest
import torch
from transformers import AutoModelForSequenceClassification, AutoModelForTokenClassification, AutoTokenizer

from bertwire_core.errors import UserError
from bertwire_core.tasks import Task
from bertwire_data.labelled import MAIN_METRIC, Columns, read_labelled
from bertwire_trainer.base import find_base
from bertwire_trainer.loading import load_model
from bertwire_trainer.prior import start_at_prior
from bertwire_trainer.record import TrainingRecord

Run = Callable[..., Path]
Row = dict[str, Any]


def filler(number: int) -> str:
    return f"w{number % 90} w{number // 90}"


def several(number: int) -> Row:
    """Each of two words is a label of its own; some texts have none."""
    labels = [name for place, name in enumerate(("good", "bad")) if number >> place & 1]
    return {"text": " ".join([filler(number), *labels]), "labels": labels}


def tagged(number: int) -> Row:
    """`good`, and all `bad` behind it, is an entity."""
    words = ["w1", "good", *["bad"] * (number % 3), f"w{number}"]
    return {"tokens": words, "tags": ["O", "B-x", *["I-x"] * (number % 3), "O"]}


def numbered(number: int) -> Row:
    """The number is the share of `good` words."""
    return {
        "text": " ".join([filler(number), *["good"] * (number % 4), *["bad"] * (3 - number % 4)]),
        "label": (number % 4) / 4,
    }


def paired(number: int) -> Row:
    """The label shows in the second text."""
    word = "good" if number % 2 else "bad"
    return {"text": filler(number), "text_pair": word, "label": "yes" if number % 2 else "no"}


def write(path: Path, row: Callable[[int], Row], numbers: range) -> Path:
    path.write_text("".join(json.dumps(row(number)) + "\n" for number in numbers))
    return path


def lines(output: Path, name: str) -> list[Row]:
    return [json.loads(line) for line in (output / "predictions" / f"{name}.jsonl").read_text().splitlines()]


def record(output: Path) -> TrainingRecord:
    return TrainingRecord.model_validate_json((output / "training.json").read_bytes())


@pytest.fixture
def trained(run: Run, tmp_path: Path) -> Callable[..., Path]:
    """Trains on 48 rows of a kind, with dev and test of 16."""

    def start(row: Callable[[int], Row], **options: Any) -> Path:  # noqa: ANN401 - any option
        files = {
            name: write(tmp_path / f"{row.__name__}-{name}.jsonl", row, numbers)
            for name, numbers in (("train", range(48)), ("dev", range(48, 64)), ("test", range(64, 80)))
        }
        return run(**(files | {"epochs": 8, "learning_rate": 5e-3} | options))

    return start


@pytest.mark.parametrize(
    ("row", "task", "labels", "problem"),
    [
        (several, "multi_label", ["bad", "good"], "multi_label_classification"),
        (tagged, "token_classification", ["O", "B-x", "I-x"], None),
        (numbered, "regression", ["label"], "regression"),
        (paired, "single_label", ["no", "yes"], "single_label_classification"),
    ],
)
def test_task(
    trained: Callable[..., Path],
    capsys: pytest.CaptureFixture[str],
    row: Callable[[int], Row],
    task: Task,
    labels: list[str],
    problem: str | None,
) -> None:
    """Each task learns what is to be learnt, and writes configuration, record and predictions of its own."""
    output = trained(row)
    found = record(output)
    assert (found.schema_version, found.task, found.text_pairs, found.labels) == (2, task, row is paired, labels)
    assert found.truncation_strategy == "longest_first"
    assert set(found.metrics) == {"dev", "test"}
    assert next(iter(found.metrics["dev"])) == MAIN_METRIC[task]
    assert found.metrics["test"][MAIN_METRIC[task]] > 0.9
    config = json.loads((output / "config.json").read_text())
    assert config["id2label"] == {str(index): label for index, label in enumerate(labels)}
    assert config.get("problem_type") == problem
    shown = capsys.readouterr()
    assert "epoch 1: dev " in shown.out
    assert ("look like" in shown.err) == (task != "single_label")


def test_predictions_of_several_labels(trained: Callable[..., Path]) -> None:
    """A label is predicted where its logit is positive; the file reads as labelled rows again."""
    output = trained(several, epochs=2)
    rows = lines(output, "dev")
    assert [{key: row[key] for key in ("text", "labels")} for row in rows] == [several(n) for n in range(48, 64)]
    for row in rows:
        names = [name for name, logit in zip(["bad", "good"], row["logits"], strict=True) if logit >= 0]
        assert row["predicted"] == names
    again = read_labelled(output / "predictions" / "dev.jsonl", Columns())
    assert (again.task, again.sha256()) == ("multi_label", record(output).data["dev"].sha256)


def test_predictions_of_words(trained: Callable[..., Path]) -> None:
    """Each word has its tag, the predicted one and the logits that the saved model gives its first piece."""
    output = trained(tagged, epochs=2)
    rows = lines(output, "test")
    assert [{key: row[key] for key in ("tokens", "tags")} for row in rows] == [tagged(n) for n in range(64, 80)]
    model = AutoModelForTokenClassification.from_pretrained(output)
    tokenizer = AutoTokenizer.from_pretrained(output)
    for row in rows:
        encoded = tokenizer(row["tokens"], is_split_into_words=True, return_tensors="pt")
        with torch.inference_mode():
            logits = model(**encoded).logits[0, 1:-1]
        torch.testing.assert_close(torch.tensor(row["logits"]), logits, atol=1e-5, rtol=0)
        assert row["predicted"] == [model.config.id2label[int(each)] for each in logits.argmax(dim=-1)]
    again = read_labelled(output / "predictions" / "test.jsonl", Columns())
    assert (again.task, again.sha256()) == ("token_classification", record(output).data["test"].sha256)


def test_words_beyond_max_length_are_missed(trained: Callable[..., Path]) -> None:
    """Entities that were cut off count as missed, and their words have logits that decide O."""
    output = trained(tagged, max_length=3, epochs=1)
    for row in lines(output, "dev"):
        assert row["predicted"][1:] == ["O"] * (len(row["tokens"]) - 1)
        assert row["logits"][1:] == [[1, 0, 0]] * (len(row["tokens"]) - 1)
    assert record(output).metrics["dev"]["recall"] == 0


def test_predictions_of_numbers(trained: Callable[..., Path]) -> None:
    """The prediction is the number itself; the file reads as regression again."""
    output = trained(numbered, epochs=2)
    rows = lines(output, "dev")
    assert [row["label"] for row in rows] == [numbered(n)["label"] for n in range(48, 64)]
    assert all(row["predicted"] == row["logits"][0] for row in rows)
    again = read_labelled(output / "predictions" / "dev.jsonl", Columns())
    assert (again.task, again.sha256()) == ("regression", record(output).data["dev"].sha256)


def test_predictions_of_pairs(trained: Callable[..., Path]) -> None:
    """Both texts are written, with the logits that the saved model gives the pair with its token types."""
    output = trained(paired, epochs=2)
    model = AutoModelForSequenceClassification.from_pretrained(output)
    tokenizer = AutoTokenizer.from_pretrained(output)
    rows = lines(output, "dev")
    assert [{key: row[key] for key in ("text", "text_pair", "label")} for row in rows] == [
        paired(n) for n in range(48, 64)
    ]
    for row in rows:
        with torch.inference_mode():
            logits = model(**tokenizer(row["text"], row["text_pair"], return_tensors="pt")).logits[0]
        torch.testing.assert_close(torch.tensor(row["logits"]), logits, atol=1e-5, rtol=0)
    again = read_labelled(output / "predictions" / "dev.jsonl", Columns())
    assert (again.text_pairs, again.sha256()) == (True, record(output).data["dev"].sha256)


def test_whole_numbers_as_regression(trained: Callable[..., Path]) -> None:
    """--task makes numbers of what would be labels, and dev is cut without regard to them."""

    def whole(number: int) -> Row:
        return numbered(number) | {"label": number % 4}

    output = trained(whole, task="regression", dev=None, test=None, epochs=1)
    assert (record(output).task, record(output).data["dev"].rows) == ("regression", 5)
    assert json.loads((output / "config.json").read_text())["problem_type"] == "regression"
    assert isinstance(lines(output, "dev")[0]["label"], float)


def test_second_text_of_another_name(trained: Callable[..., Path]) -> None:
    """--text-pair-column chooses the second text, and a column that is not named is not read."""

    def renamed(number: int) -> Row:
        row = paired(number)
        return {"text": row["text"], "hypothesis": row["text_pair"], "label": row["label"]}

    assert not record(trained(renamed, epochs=1)).text_pairs
    assert record(trained(renamed, epochs=1, text_pair_column="hypothesis", overwrite=True)).text_pairs


@pytest.mark.parametrize(
    ("task", "targets", "bias"),
    [
        ("multi_label", [[1, 0], [1, 0], [0, 0]], [math.log(2.5 / 1.5), math.log(0.5 / 3.5)]),
        ("regression", [100.0, 104.0], [102.0]),
        ("token_classification", [0, 0, 1], [0.0, 0.0]),
    ],
)
def test_new_heads_start_at_the_prior(tiny: Path, task: Task, targets: list[Any], bias: list[float]) -> None:
    """Several labels start at their log-odds, a number at its mean, so that the encoder need not be moved there."""
    model = load_model(find_base(str(tiny)), task, ["a", "b"][: len(bias)])
    start_at_prior(model, task, numpy.array(targets))
    head: torch.nn.Linear = model.classifier  # type: ignore[assignment]
    assert head.bias.tolist() == pytest.approx(bias, rel=1e-5)


def test_smoothing_of_tags(trained: Callable[..., Path]) -> None:
    """Label smoothing shapes what token classification learns."""
    plain, smooth = (
        lines(trained(tagged, epochs=1, label_smoothing=share, overwrite=True), "dev") for share in (0, 0.3)
    )
    assert plain != smooth


@pytest.mark.parametrize("option", [{"class_weights": "balanced"}, {"label_smoothing": 0.1}])
def test_options_without_meaning(trained: Callable[..., Path], option: dict[str, Any]) -> None:
    """Options that the detected task has no use for are refused."""
    with pytest.raises(UserError, match=r"is for single_label.*; this is regression"):
        trained(numbered, **option)
