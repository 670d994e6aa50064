"""Feature extraction: only the head changes, and what it learns is as good as its vectors allow."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from bertwire_core.errors import UserError
from bertwire_core.pooled import load_pooled
from bertwire_core.pooling import Pooling
from bertwire_trainer import predict
from bertwire_trainer.config import TrainConfig
from bertwire_trainer.linear import STRENGTHS
from bertwire_trainer.prepare import prepare
from bertwire_trainer.record import TrainingRecord
from bertwire_trainer.train import train_model
from rows import numbered, paired, several, tagged, write

Run = Callable[..., Path]
Row = Callable[[int], dict[str, Any]]


@pytest.fixture
def frozen(tiny: Path, tmp_path: Path) -> Run:
    """Fits a head for rows of `make`, on 96 of them, 32 of dev; gives the output."""

    def start(make: Row, **options: Any) -> Path:  # noqa: ANN401
        given = {
            "train": write(tmp_path / "train.jsonl", make, range(96)),
            "dev": write(tmp_path / "dev.jsonl", make, range(96, 128)),
            "output": tmp_path / "out",
            "model": str(tiny),
            "max_length": 16,
            "method": "frozen",
            "report": False,
        }
        config = TrainConfig(**(given | options))
        train_model(prepare(config))
        return config.output

    return start


def record(output: Path) -> TrainingRecord:
    return TrainingRecord.model_validate_json((output / "training.json").read_bytes())


@pytest.mark.parametrize("make", [paired, several, numbered])
def test_learns_with_the_encoder_as_it_was(frozen: Run, tiny: Path, make: Row) -> None:
    """Every task of whole texts learns from the mean over tokens, and no weight of the encoder changes."""
    output = frozen(make)
    model = load_pooled(output)
    assert model is not None
    assert model.pooling == Pooling("mean")
    after = load_file(output / "model.safetensors")
    before = load_file(tiny / "model.safetensors")
    assert all(torch.equal(after[f"bert.{name}"], each) for name, each in before.items() if "pooler" not in name)
    found = record(output)
    assert next(iter(found.metrics["dev"].values())) > 0.85
    assert (found.method, found.best_epoch, found.recipe["strength"]) == ("frozen", None, None)


def test_strength_shapes_the_head(frozen: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A stronger penalty gives smaller weights; the one that is chosen is said, and is one of those compared."""
    norms = [
        load_file(frozen(paired, strength=each, output=tmp_path / str(each)) / "model.safetensors")[
            "head.weight"
        ].norm()
        for each in (100.0, 1.0, 0.01)
    ]
    assert norms == sorted(norms)
    frozen(paired)
    said = capsys.readouterr().err.partition("--strength ")[2].partition(":")[0]
    assert float(said) in STRENGTHS


def test_pooling_is_the_users(frozen: Run) -> None:
    """A pooling that the user names is taken in place of the mean."""
    model = load_pooled(frozen(paired, pooling="first", normalize=True))
    assert model is not None
    assert model.pooling == Pooling("first", normalize=True)


def test_resumed_run_embeds_train_once(
    frozen: Run, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A run that was interrupted after its vectors were there goes on with them."""
    with monkeypatch.context() as patch:
        patch.setattr("bertwire_trainer.linear.choose_strength", _press)
        with pytest.raises(KeyboardInterrupt):
            frozen(paired)
    assert "repeat the command with --resume" in capsys.readouterr().err
    monkeypatch.setattr(predict, "embed", _press)
    assert record(frozen(paired, resume=True)).method == "frozen"


def _press(*_: object) -> None:
    raise KeyboardInterrupt


def test_refuses_tags(frozen: Run) -> None:
    """A head that reads one vector a text cannot tag words."""
    with pytest.raises(UserError, match=r"--method frozen is for .*; this is token_classification"):
        frozen(tagged)
