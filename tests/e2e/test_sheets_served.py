"""From a spreadsheet to answers of a server: texts in any script, and labels that are numbers."""

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import openpyxl
import pytest

from bertwire_export.config import ExportConfig
from bertwire_export.pipeline import run
from bertwire_trainer.config import TrainConfig
from bertwire_trainer.prepare import prepare
from bertwire_trainer.train import train_model
from support import SPECIAL, WORDS, Serve, bertwire

CHARACTERS = "这家餐厅服务味道环境菜品价格好差很真太不一般我们觉得"
Make = Callable[..., tuple[Path, list[str]]]


@pytest.fixture
def make(tmp_path: Path) -> Make:
    """Trains a tiny random encoder with a vocabulary on files, and exports it, proven on dev as it was given.

    Gives the bundle and what the export noted.
    """
    import torch
    from transformers import BertConfig, BertModel, BertTokenizer

    def start(vocabulary: list[str], **files: Path) -> tuple[Path, list[str]]:
        pieces = [*SPECIAL, *vocabulary]
        torch.manual_seed(0)
        config = BertConfig(
            vocab_size=len(pieces),
            hidden_size=32,
            num_hidden_layers=2,
            num_attention_heads=4,
            intermediate_size=64,
            max_position_embeddings=64,
            initializer_range=0.2,
        )
        BertModel(config).save_pretrained(tmp_path / "base")
        BertTokenizer({piece: index for index, piece in enumerate(pieces)}).save_pretrained(tmp_path / "base")
        recipe: dict[str, Any] = {"epochs": 9, "batch_size": 8, "learning_rate": 5e-3, "max_length": 24}
        checkpoint, bundle = tmp_path / "checkpoint", tmp_path / "bundle"
        train_model(
            prepare(TrainConfig(**files, **recipe, model=str(tmp_path / "base"), output=checkpoint, report=False))
        )
        exported = run(
            ExportConfig(checkpoint=checkpoint, output=bundle, dev=files["dev"], quick=True, variants=["fp32"])
        )
        return bundle, exported.notes

    return start


def command(*arguments: object) -> str:
    """Runs a `bertwire` command that must succeed, and gives its standard output."""
    done = subprocess.run(bertwire(*arguments), capture_output=True, check=False)
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout.decode()


@pytest.mark.timeout(300)
def test_chinese_is_served_as_chinese(tmp_path: Path, make: Make, serve: Serve) -> None:
    """Excel's Unicode text is read, trained on and scored, and the answers are in Chinese."""

    def write(name: str, numbers: range) -> Path:
        rows = []
        for number in numbers:
            filler = "".join(CHARACTERS[(number * step) % 16] for step in (1, 3, 5))
            rows.append((f"我们觉得{filler}{'好' if number % 2 else '差'}", "正面" if number % 2 else "负面"))
        lines = "".join(f"{text}\t{label}\r\n" for text, label in [("text", "label"), *rows])
        (tmp_path / name).write_bytes(("\ufeff" + lines).encode("utf-16-le"))
        return tmp_path / name

    train, dev = write("train.txt", range(64)), write("dev.txt", range(64, 96))
    bundle, notes = make(list(CHARACTERS), train=train, dev=dev)
    assert [each.split(": ")[-1] for each in notes if str(dev) in each] == [
        f"{dev} is UTF-16, as Excel writes Unicode text",
        "columns are separated by tabs",
    ]
    assert json.loads((bundle / "manifest.json").read_text(encoding="utf-8"))["labels"] == ["正面", "负面"]
    record = json.loads((tmp_path / "checkpoint" / "training.json").read_text(encoding="utf-8"))
    assert not [each for each in record["remarks"] if "unknown" in each]
    with serve(bundle) as server:
        command("score", dev, "--output", tmp_path / "out.txt", "--address", server.address)
        said = command("classify", server.address, "味道真好", "--json")
    header, *scored = (tmp_path / "out.txt").read_bytes().decode("utf-16").splitlines()
    assert header.split("\t")[:3] == ["text", "label", "predicted_label"]
    right = [label == predicted for _, label, predicted, *_ in (line.split("\t") for line in scored)]
    assert sum(right) >= 30
    assert '"正面"' in said


@pytest.mark.timeout(300)
def test_numbers_of_a_workbook_are_served_as_labels(tmp_path: Path, make: Make, serve: Serve) -> None:
    """Labels 0 and 1 of an Excel sheet are the labels `0` and `1` of the served model."""

    def write(name: str, numbers: range) -> Path:
        book = openpyxl.Workbook()
        book.active.append(["text", "label"])
        for number in numbers:
            book.active.append([f"{WORDS[number % 60]} {'good' if number % 2 else 'bad'}", number % 2])
        book.save(tmp_path / name)
        return tmp_path / name

    train, dev = write("train.xlsx", range(64)), write("dev.xlsx", range(64, 96))
    bundle, _ = make(["good", "bad", *WORDS], train=train, dev=dev)
    with serve(bundle) as server:
        command("score", dev, "--output", tmp_path / "out.xlsx", "--address", server.address)
    header, *rows = openpyxl.load_workbook(tmp_path / "out.xlsx").active.values
    assert header[:3] == ("text", "label", "predicted_label")
    assert sum(str(label) == predicted for _, label, predicted, *_ in rows) >= 30
