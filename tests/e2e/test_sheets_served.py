"""From a spreadsheet to answers of a server: texts in any script, and labels that are numbers."""

import json
import subprocess
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy
import openpyxl
import pytest

from bertwire_client import Client
from bertwire_export.config import ExportConfig
from bertwire_export.pipeline import run
from bertwire_runtime.bundle import open_bundle
from bertwire_runtime.predictor import Predictor
from bertwire_runtime.tokenizer import Encoded
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

    def start(vocabulary: list[str], options: dict[str, Any] | None = None, **files: Path) -> tuple[Path, list[str]]:
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
        recipe |= options or {}
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
        command("score", dev, "--output", tmp_path / "out.txt", "--server", server.address)
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
        command("score", dev, "--output", tmp_path / "out.xlsx", "--server", server.address)
    header, *rows = openpyxl.load_workbook(tmp_path / "out.xlsx").active.values
    assert header[:3] == ("text", "label", "predicted_label")
    assert sum(str(label) == predicted for _, label, predicted, *_ in rows) >= 30


@pytest.mark.timeout(300)
def test_long_texts_are_read_in_chunks(tmp_path: Path, make: Make, serve: Serve) -> None:
    """What the label shows in stands past the length that the model reads; the served logits are the chunks' mean."""

    def write(name: str, numbers: range) -> Path:
        rows = []
        for number in numbers:
            filler = " ".join(WORDS[(number * step) % len(WORDS)] for step in range(1, 11) for _ in "123")
            rows.append({"text": f"{filler} {'good' if number % 2 else 'bad'}", "label": str(number % 2)})
        (tmp_path / name).write_text("".join(json.dumps(row) + "\n" for row in rows))
        return tmp_path / name

    options = {"chunks": 5, "chunk_overlap": 4, "max_length": 16, "epochs": 8}
    train, dev = write("train.jsonl", range(64)), write("dev.jsonl", range(64, 96))
    bundle, _ = make([*WORDS, "good", "bad"], options, train=train, dev=dev)
    record = json.loads((tmp_path / "checkpoint" / "training.json").read_text())
    assert record["metrics"]["dev"]["accuracy"] > 0.9
    predictor = Predictor(open_bundle(bundle))
    text = json.loads(dev.read_text().splitlines()[0])["text"]
    (whole,) = predictor.encode([text])
    starts = [0, *whole.ends]
    chunks = [Encoded(whole.ids[a:b], whole.type_ids[a:b], truncated=False) for a, b in pairwise(starts)]
    # 31 words; chunks of 14 words besides two special tokens, of which 4 are those before.
    assert [len(chunk.ids) for chunk in chunks] == [16, 16, 13]
    assert chunks[1].ids[1:5] == chunks[0].ids[11:15]
    mean = numpy.mean(predictor.engine.by_text(chunks), axis=0)
    with serve(bundle, "--variant", "fp32") as served, Client(served.address) as client:
        short, found = client.classify(["good", text], logits=True).results
        assert (found.token_count, found.truncated, short.token_count) == (45, False, 3)
        assert found.logits == pytest.approx(mean.tolist(), abs=1e-4)
        assert client.classify([text * 9]).results[0].truncated
        spans = client.explain(text).spans
        assert [(text[each.start : each.end], each.end) for each in spans][-1] == ("bad", len(text))
        assert len(spans) == len(text.split())
