"""A tiny random BERT checkpoint, separable rows, and a run of the trainer on them."""

import json
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import pytest

from bertwire_trainer.config import TrainConfig
from bertwire_trainer.method import Job
from bertwire_trainer.methods import DEFAULT, METHODS
from bertwire_trainer.methods.full import Full
from bertwire_trainer.quiet import quiet_libraries

quiet_libraries()

_SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
_WORDS = ["good", "bad", *(f"w{number}" for number in range(90))]

Rows = list[tuple[str, str]]
Separable = Callable[..., Rows]
WriteRows = Callable[[str, Rows], Path]
Run = Callable[..., Path]
Handed = Callable[..., Job]
Interrupted = Callable[[int], AbstractContextManager[None]]


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random BERT encoder of 2 layers, hidden size 32, 97 tokens and 64 positions."""
    return _save_tiny(tmp_path_factory.mktemp("bases") / "tiny-bert", "BertModel")


@pytest.fixture(scope="session")
def tiny_masked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same with a random masked-language-modelling head."""
    return _save_tiny(tmp_path_factory.mktemp("bases") / "tiny-masked", "BertForMaskedLM")


def _save_tiny(folder: Path, kind: str) -> Path:
    import torch
    import transformers
    from transformers import BertConfig, BertTokenizer

    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=len(_SPECIAL + _WORDS),
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=64,
        max_position_embeddings=64,
        # Ten times BERT's own, so that a few steps learn something.
        initializer_range=0.2,
    )
    getattr(transformers, kind)(config).save_pretrained(folder)
    BertTokenizer({word: index for index, word in enumerate(_SPECIAL + _WORDS)}).save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def separable() -> Separable:
    """Makes rows whose label shows in one word, two thirds positive and one third negative; no two texts are alike."""

    def make(count: int, first: int = 0) -> Rows:
        rows = []
        for number in range(first, first + count):
            word, label = ("good", "positive") if number % 3 else ("bad", "negative")
            filler = " ".join(f"w{(number // 90**place) % 90}" for place in range(2))
            rows.append((f"{filler} {word}" + " w1" * (number % 7), label))
        return rows

    return make


@pytest.fixture
def write_rows(tmp_path: Path) -> WriteRows:
    """Writes rows as JSONL and gives the file."""

    def write(name: str, rows: Rows) -> Path:
        path = tmp_path / name
        path.write_text("".join(json.dumps({"text": text, "label": label}) + "\n" for text, label in rows))
        return path

    return write


@pytest.fixture
def run(tiny: Path, tmp_path: Path, write_rows: WriteRows, separable: Separable) -> Run:
    """Trains the tiny checkpoint on 48 separable rows, 16 of dev; options replace the defaults. Gives the output."""
    from bertwire_trainer.prepare import prepare
    from bertwire_trainer.train import train_model

    train = write_rows("train.jsonl", separable(48))
    dev = write_rows("dev.jsonl", separable(16, 100))

    def start(**options: Any) -> Path:  # noqa: ANN401 - any option of the command
        given = {
            "train": train,
            "dev": dev,
            "output": tmp_path / "out",
            "model": str(tiny),
            "epochs": 2,
            "batch_size": 8,
            "learning_rate": 3e-3,
            "max_length": 16,
            "precision": "fp32",
            "report": False,
        }
        method = METHODS.get(options.get("method", DEFAULT))
        if (method is None or method.pooling is None) and options.get("continued") is None:
            # What the tests look at by its name; tests of poolings choose others.
            given["pooling"] = "own"
        config = TrainConfig(**(given | options))
        train_model(prepare(config))
        return config.output

    return start


class Reached(Exception):
    """The method was called."""


@pytest.fixture
def handed(run: Run, monkeypatch: pytest.MonkeyPatch) -> Handed:
    """The job that a run with given options hands to its method; it ends there."""

    def start(**options: Any) -> Job:  # noqa: ANN401 - any option of the command
        jobs: list[Job] = []

        def fit(_: Full, job: Job, __: object) -> None:
            jobs.append(job)
            raise Reached

        with monkeypatch.context() as patch:
            patch.setattr(Full, "fit", fit)
            with pytest.raises(Reached):
                run(overwrite=True, **options)
        return jobs[0]

    return start


@pytest.fixture
def interrupted(monkeypatch: pytest.MonkeyPatch) -> Interrupted:
    """Presses Ctrl-C after so many optimizer steps of the run in the block, which ends by it."""
    from bertwire_trainer.loop.progress import EpochBars

    @contextmanager
    def after(step: int) -> Iterator[None]:
        def press(_: EpochBars, __: object, state: Any, *___: object, **____: object) -> None:  # noqa: ANN401
            if state.global_step == step:
                raise KeyboardInterrupt

        with monkeypatch.context() as patch:
            patch.setattr(EpochBars, "on_step_end", press)
            with pytest.raises(KeyboardInterrupt):
                yield

    return after
