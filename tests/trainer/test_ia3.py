"""IA3: what is trained, what is published, and how it goes on."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModelForSequenceClassification

from bertwire_trainer.loop.progress import EpochBars
from bertwire_trainer.record import TrainingRecord
from graphs import tiny_model
from rows import ROWS, write

Run = Callable[..., Path]


@pytest.fixture
def ia3(run: Run) -> Run:
    """Return a function that trains the tiny checkpoint with IA3; options replace the defaults."""

    def start(**options: Any) -> Path:  # noqa: ANN401 - any option of the command
        return run(**({"method": "ia3", "learning_rate": 3e-2, "epochs": 4} | options))

    return start


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(folder / "model.safetensors")


def record(output: Path) -> TrainingRecord:
    return TrainingRecord.model_validate_json((output / "training.json").read_bytes())


def scales(output: Path, tiny: Path, name: str) -> torch.Tensor:
    """Return by what the weights of a layer of the encoder were multiplied."""
    return weights(output)[f"bert.{name}"] / weights(tiny)[name]


def test_published_as_a_plain_checkpoint(ia3: Run) -> None:
    """It learns, and transformers loads its folder alone."""
    output = ia3(epochs=12, patience=12)
    _, report = AutoModelForSequenceClassification.from_pretrained(output, output_loading_info=True)
    assert not any(report.values())
    found = record(output)
    assert found.metrics["dev"]["accuracy"] > 0.9
    assert (found.method, found.recipe["weight_decay"]) == ("ia3", 0.0)


def test_what_is_trained(ia3: Run, tiny: Path) -> None:
    """A scale for each key, value and feed-forward neuron, and the head; nothing else of the encoder."""
    output, before = ia3(epochs=1), weights(tiny)
    after = {name.removeprefix("bert."): tensor for name, tensor in weights(output).items()}
    changed = {name for name, tensor in before.items() if not torch.equal(tensor, after[name])}
    layers = [f"encoder.layer.{number}." for number in range(2)]
    scaled = {f"{each}{name}" for each in layers for name in ("attention.self.key", "attention.self.value")}
    neurons = {f"{each}output.dense.weight" for each in layers}
    # The tiny checkpoint's biases are 0.
    assert {name for name in changed if not name.startswith("pooler.")} == {
        f"{each}.weight" for each in scaled
    } | neurons
    for name in scaled:
        by_output = scales(output, tiny, f"{name}.weight")
        torch.testing.assert_close(by_output, by_output[:, :1].expand_as(by_output), rtol=1e-4, atol=0)
    for name in neurons:
        by_input = scales(output, tiny, name)
        torch.testing.assert_close(by_input, by_input[:1].expand_as(by_input), rtol=1e-4, atol=0)


@pytest.mark.parametrize(("method", "adapters"), [("ia3", 2 * (32 + 32 + 64)), ("lora", 2 * 2 * (4 * 64 + 2 * 96))])
def test_share_of_trained_weights(ia3: Run, capsys: pytest.CaptureFixture[str], method: str, adapters: int) -> None:
    """It is recorded and printed, with the head (a pooler and two labels) and without."""
    output = ia3(method=method, epochs=1, **({"lora_rank": 2} if method == "lora" else {}))
    head = 32 * 32 + 32 + 2 * 32 + 2
    total = sum(each.numel() for each in weights(output).values()) + adapters
    expected = {"trained_share": (adapters + head) / total, "adapter_share": adapters / total}
    assert record(output).chosen == pytest.approx(expected, abs=1e-6)
    assert (
        f"trains {(adapters + head) / total:.2%} of the weights: {adapters / total:.2%} in" in capsys.readouterr().err
    )


@pytest.mark.parametrize(
    ("family", "settings"),
    [
        ("albert", {}),
        ("deberta-v2", {"relative_attention": True, "pos_att_type": ["p2c", "c2p"]}),
        ("distilbert", {}),
        ("electra", {}),
        ("modernbert", {"pad_token_id": 0}),
        ("mpnet", {}),
        ("roberta", {"pad_token_id": 0}),
    ],
)
def test_families(ia3: Run, tiny: Path, tmp_path: Path, family: str, settings: dict[str, Any]) -> None:
    """Encoders whose layers have other names train and are published."""
    base = Path(shutil.copytree(tiny, tmp_path / family))
    tiny_model(family, vocab_size=97, **settings).save_pretrained(base)
    assert record(ia3(model=str(base), epochs=1)).base_model == family


@pytest.mark.parametrize("kind", ROWS)
def test_tasks(ia3: Run, tmp_path: Path, kind: str) -> None:
    """Every task trains."""
    train, dev = (write(tmp_path / f"{name}.jsonl", ROWS[kind], range(24)) for name in ("some", "others"))
    assert record(ia3(train=train, dev=dev, epochs=1)).method == "ia3"


def test_resumed_is_as_uninterrupted(ia3: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C in the second epoch, then --resume, gives the weights of an uninterrupted run."""
    whole = ia3(output=tmp_path / "whole")

    def press(_: EpochBars, __: object, state: Any, *___: object, **____: object) -> None:  # noqa: ANN401
        if state.global_step == 9:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(EpochBars, "on_step_end", press)
        with pytest.raises(KeyboardInterrupt):
            ia3()
    resumed = weights(ia3(resume=True))
    for name, tensor in weights(whole).items():
        torch.testing.assert_close(resumed[name], tensor, atol=1e-6, rtol=0)
