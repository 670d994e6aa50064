"""What several parts' tests need: a tiny random checkpoint, its bundle, a real server process."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from rows import LIMITS, MAX_LENGTH, ROWS, Made, write
from support import LABELS, SPECIAL, WORDS, Serve, Server, bertwire, random_texts

# One thread of PyTorch, here and in every command that a test starts: at this size two are no faster, and many times
# slower where other tests run beside.
os.environ["OMP_NUM_THREADS"] = "1"


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint folder as the trainer writes it: random BERT of 2 layers, hidden 32, at most 32 tokens, 3 labels."""
    import torch
    from transformers import (
        AutoModelForSequenceClassification,
        AutoTokenizer,
        BertConfig,
        BertForSequenceClassification,
        BertTokenizer,
    )

    folder = tmp_path_factory.mktemp("checkpoints") / "tiny"
    torch.manual_seed(1)
    config = BertConfig(
        vocab_size=len(SPECIAL + WORDS),
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=64,
        max_position_embeddings=64,
        id2label=dict(enumerate(LABELS)),
        label2id={label: index for index, label in enumerate(LABELS)},
        initializer_range=0.3,
    )
    BertForSequenceClassification(config).save_pretrained(folder)
    BertTokenizer({word: index for index, word in enumerate(SPECIAL + WORDS)}).save_pretrained(folder)
    training = {
        "schema_version": 2,
        "task": "single_label",
        "text_pairs": False,
        "labels": LABELS,
        "max_length": 32,
        "truncation_side": "right",
        "base_model": "tiny",
    }
    (folder / "training.json").write_text(json.dumps(training))
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForSequenceClassification.from_pretrained(folder).eval()
    rows = []
    for index, text in enumerate(random_texts(100)):
        with torch.no_grad():
            best = model(**tokenizer(text, truncation=True, max_length=32, return_tensors="pt")).logits.argmax().item()
        rows.append({"text": text, "label": LABELS[index % 3], "predicted": LABELS[int(best)]})
    (folder / "predictions").mkdir()
    (folder / "predictions" / "dev.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


@pytest.fixture(scope="session")
def thousand_rows(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Labelled rows for the tiny checkpoint, enough that int8 decides some otherwise than PyTorch."""
    path = tmp_path_factory.mktemp("rows") / "thousand.jsonl"
    rows = [{"text": text, "label": LABELS[index % 3]} for index, text in enumerate(random_texts(1000, seed=3))]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


@pytest.fixture(scope="session")
def bundle(checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny checkpoint's bundle, packed fp32 and int8; the int8 of random weights may be as wrong as it likes."""
    from bertwire_export.config import ExportConfig
    from bertwire_export.pipeline import run

    output = tmp_path_factory.mktemp("bundles") / "tiny"
    run(ExportConfig(checkpoint=checkpoint, output=output, quick=True, int8_min_agreement=0, int8_max_drop=1))
    return output


@pytest.fixture(scope="session")
def serve() -> Serve:
    """Starts `bertwire serve BUNDLE --port 0 OPTIONS` and gives the ready server; it is killed if still there.

    Told to stop it accepts calls for a tenth of a second more, unless the options say otherwise.
    """

    @contextmanager
    def start(bundle: Path, *options: object, python: str = sys.executable) -> Iterator[Server]:
        command = bertwire("serve", bundle, "--port", 0, "--shutdown-delay-seconds", 0.1, *options, python=python)
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            try:
                assert process.stdout is not None
                line = process.stdout.readline()
                match = re.search(r" at (\S+)$", line)
                assert match, f"the server did not start: {line!r}"
                yield Server(process, match[1])
            finally:
                process.kill()

    return start


@pytest.fixture(scope="module")
def server(serve: Serve, bundle: Path) -> Iterator[Server]:
    """A server of the tiny bundle's fp32 variant, shared by the tests of a file."""
    with serve(bundle, "--variant", "fp32") as running:
        yield running


@pytest.fixture(scope="session")
def task_base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random BERT encoder of 2 layers whose tokenizer splits `goodxy` into three pieces."""
    import torch
    from transformers import BertConfig, BertModel, BertTokenizer

    folder = tmp_path_factory.mktemp("bases") / "tiny"
    vocabulary = [*SPECIAL, "good", "bad", "##x", "##y", *WORDS]
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=len(vocabulary),
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=64,
        max_position_embeddings=64,
        initializer_range=0.2,
    )
    BertModel(config).save_pretrained(folder)
    BertTokenizer({word: index for index, word in enumerate(vocabulary)}).save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def make_task(task_base: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Made]:
    """Trains and exports a tiny model of a kind of rows, once."""
    from bertwire_export.config import ExportConfig
    from bertwire_export.pipeline import run
    from bertwire_trainer.config import TrainConfig
    from bertwire_trainer.prepare import prepare
    from bertwire_trainer.train import train_model

    @cache
    def make(kind: str) -> Made:
        folder = tmp_path_factory.mktemp(kind)
        ranges = {"train": range(64), "dev": range(64, 104), "test": range(104, 124)}
        files: dict[str, Any] = {
            name: write(folder / f"{name}.jsonl", ROWS[kind], each) for name, each in ranges.items()
        }
        recipe = {"epochs": 3, "batch_size": 8, "learning_rate": 3e-3, "max_length": MAX_LENGTH}
        # Of transformers' own class, by which the tests run the checkpoint.
        exact = {"precision": "fp32", "pooling": "own", "report": False}
        checkpoint, output = folder / "checkpoint", folder / "bundle"
        train_model(prepare(TrainConfig(**files, **recipe, **exact, model=str(task_base), output=checkpoint)))
        run(ExportConfig(checkpoint=checkpoint, output=output, quick=kind in ("regression", "pairs"), **LIMITS))
        return Made(kind, checkpoint, output)

    return make


@pytest.fixture(scope="module", params=list(ROWS))
def made(request: pytest.FixtureRequest, make_task: Callable[[str], Made]) -> Made:
    """A checkpoint of each task, and its bundle."""
    return make_task(request.param)
