"""Few-shot: the encoder learns from pairs, with as few as one text of a label, and what comes out is a plain model."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from bertwire_core.errors import UserError
from bertwire_core.pooled import load_pooled
from bertwire_core.pooling import Pooling
from bertwire_trainer.config import TrainConfig
from bertwire_trainer.prepare import prepare
from bertwire_trainer.record import TrainingRecord
from bertwire_trainer.train import train_model
from rows import filler, numbered, paired, several, tagged, write

Run = Callable[..., Path]
Row = Callable[[int], dict[str, Any]]


@pytest.fixture
def few(tiny: Path, tmp_path: Path) -> Run:
    """Trains on 16 rows of `make`, 32 of dev; options replace the defaults. Gives the output."""

    def start(make: Row, rows: int = 16, **options: Any) -> Path:  # noqa: ANN401
        given = {
            "train": write(tmp_path / "train.jsonl", make, range(rows)),
            "dev": write(tmp_path / "dev.jsonl", make, range(96, 128)),
            "output": tmp_path / "out",
            "model": str(tiny),
            "max_length": 16,
            "method": "few-shot",
            "num_iterations": 10,
            "learning_rate": 3e-3,
            "precision": "fp32",
            "report": False,
        }
        config = TrainConfig(**(given | options))
        train_model(prepare(config))
        return config.output

    return start


def marked(number: int) -> dict[str, Any]:
    """The label shows in one word of several."""
    word, label = ("good", "yes") if number % 2 else ("bad", "no")
    return {"text": f"{filler(number)} {word}", "label": label}


def record(output: Path) -> TrainingRecord:
    return TrainingRecord.model_validate_json((output / "training.json").read_bytes())


def vectors(output: Path) -> tuple[torch.Tensor, torch.Tensor]:
    """Return what the head of a model reads of 40 texts that it has not learnt, by label."""
    from transformers import AutoTokenizer

    model, tokenizer = load_pooled(output), AutoTokenizer.from_pretrained(output)
    assert model is not None
    with torch.inference_mode():
        tokens = tokenizer([marked(number)["text"] for number in range(200, 240)], padding=True, return_tensors="pt")
        read = model.read(model.encode(**tokens), tokens["attention_mask"])
    return read[0::2], read[1::2]


def gap(output: Path) -> float:
    """Return by how much the cosine within a label is over that across labels."""
    no, yes = vectors(output)
    within = (no @ no.T).mean() + (yes @ yes.T).mean()
    return float(within / 2 - (no @ yes.T).mean())


def test_pairs_bring_a_label_together(few: Run, tmp_path: Path) -> None:
    """Texts that were not learnt are nearer to those of their label than to others; hardly without training."""
    output = few(marked)
    before = few(marked, learning_rate=1e-9, output=tmp_path / "before")
    assert gap(output) > gap(before) + 0.2
    model = load_pooled(output)
    assert model is not None
    assert model.pooling == Pooling("mean", normalize=True)
    found = record(output)
    assert found.metrics["dev"]["accuracy"] > 0.9
    assert (found.method, found.best_epoch, found.recipe["num_iterations"]) == ("few-shot", None, 10)


@pytest.mark.parametrize("make", [paired, several])
def test_learns(few: Run, make: Row) -> None:
    """Pairs of texts with one label, and single texts with several, are learnt."""
    assert next(iter(record(few(make, 48)).metrics["dev"].values())) > 0.8


def test_one_text_of_a_label(few: Run) -> None:
    """A label with one text is learnt beside the others."""

    def make(number: int) -> dict[str, Any]:
        return {"text": filler(number), "label": "rare"} if number == 3 else marked(number)

    found = record(few(make))
    assert found.labels == ["no", "rare", "yes"]
    assert found.metrics["dev"]["accuracy"] > 0.8


def test_label_that_all_texts_share(few: Run) -> None:
    """Where every two texts have a label in common, those with the fewest in common are told apart."""

    def make(number: int) -> dict[str, Any]:
        return {"text": marked(number)["text"], "labels": ["all", *["yes"] * (number % 2)]}

    assert record(few(make)).metrics["dev"]["micro_f1"] > 0.9


def test_restarts_as_it_began(few: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run that was interrupted while the head was fitted gives with --resume what it gives undisturbed."""
    expected = load_file(few(marked) / "model.safetensors")
    again = {"output": tmp_path / "again"}
    with monkeypatch.context() as patch:
        patch.setattr("bertwire_trainer.linear.choose_strength", _press)
        with pytest.raises(KeyboardInterrupt):
            few(marked, **again)
    found = load_file(few(marked, resume=True, **again) / "model.safetensors")
    assert all(torch.equal(found[name], each) for name, each in expected.items())


def _press(*_: object) -> None:
    raise KeyboardInterrupt


@pytest.mark.parametrize(
    "option",
    [{"num_iterations": 9}, {"batch_size": 8}, {"learning_rate": 1e-3}, {"seed": 7}, {"precision": "bf16"}],
    ids=lambda option: next(iter(option)),
)
def test_option_counts(few: Run, tmp_path: Path, option: dict[str, Any]) -> None:
    """Each option changes the encoder."""
    plain, other = (
        load_file(few(marked, **given) / "model.safetensors")
        for given in ({}, {"output": tmp_path / "other", **option})
    )
    assert not torch.equal(
        plain["bert.encoder.layer.0.output.dense.weight"], other["bert.encoder.layer.0.output.dense.weight"]
    )


def test_many_texts(few: Run, capsys: pytest.CaptureFixture[str]) -> None:
    """Over some hundred texts a label the other methods are named, in one line."""
    few(marked, 402, num_iterations=1)
    assert (
        "few-shot: over 200 texts a label; it is meant for fewer, compare --method full and frozen\n"
        in capsys.readouterr().err
    )


def test_progress(few: Run, capsys: pytest.CaptureFixture[str]) -> None:
    """Loss and rate are shown beside the progress."""
    few(marked)
    assert "contrast 100%" in (said := capsys.readouterr().err)
    assert ", rate " in said.partition("loss ")[2].splitlines()[0]


def test_divergence_is_one_line(few: Run) -> None:
    """A rate that leaves no finite vectors is refused with what to lower."""
    with pytest.raises(UserError, match=r"^few-shot diverged: .*; lower --learning-rate or use fp32$"):
        few(marked, learning_rate=1e30)


@pytest.mark.parametrize("make", [tagged, numbered])
def test_refuses_other_tasks(few: Run, make: Row) -> None:
    """Words and numbers have no label to share."""
    with pytest.raises(UserError, match=r"^--method few-shot is for multi_label and single_label; this is "):
        few(make)
