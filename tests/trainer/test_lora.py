"""LoRA: what is trained, what is published, and how it goes on."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForSequenceClassification

from bertwire_core.errors import UserError
from checkpoints import record, weights

Run = Callable[..., Path]


@pytest.fixture
def lora(run: Run) -> Run:
    """Return a function that trains the tiny checkpoint with LoRA; options replace the defaults."""

    def start(**options: Any) -> Path:  # noqa: ANN401 - any option of the command
        return run(**({"method": "lora", "learning_rate": 1e-2, "epochs": 4} | options))

    return start


def changed(output: Path, tiny: Path) -> set[str]:
    """Return the names of the encoder's tensors that differ from the base's by more than rounding."""
    after = {name.removeprefix("bert."): tensor for name, tensor in weights(output).items()}
    before = weights(tiny)
    return {name for name, tensor in before.items() if not torch.allclose(tensor, after[name], atol=1e-6)}


@pytest.mark.parametrize("dora", [False, True])
def test_published_as_a_plain_checkpoint(lora: Run, run: Run, tmp_path: Path, dora: bool) -> None:
    """It learns, and its folder has the files and tensors of full fine-tuning, which transformers loads alone."""
    output, full = lora(lora_dora=dora, lora_rank=16, lora_alpha=32), run(output=tmp_path / "full", epochs=1)
    names = [sorted(path.name for path in folder.iterdir()) for folder in (output, full)]
    assert names[0] == names[1]
    assert {name: tensor.shape for name, tensor in weights(output).items()} == {
        name: tensor.shape for name, tensor in weights(full).items()
    }
    configs = [json.loads((folder / "config.json").read_text()) for folder in (output, full)]
    assert configs[0] == configs[1]
    _, report = AutoModelForSequenceClassification.from_pretrained(output, output_loading_info=True)
    assert not any(report.values())
    found = record(output)
    assert found.metrics["dev"]["accuracy"] > 0.9
    assert (found.method, found.recipe["lora_rank"], found.recipe["lora_dora"]) == ("lora", 16, dora)
    assert record(full).method == "full"
    assert "lora_rank" not in record(full).recipe


def test_what_is_trained(lora: Run, tiny: Path) -> None:
    """By default every linear layer of the encoder and the pooler of the head; nothing else of the encoder."""
    linear = ("query", "key", "value", "output.dense", "intermediate.dense")
    expected = {
        name
        for name in weights(tiny)
        if name.startswith("pooler.") or any(name.endswith(f".{layer}.weight") for layer in linear)
    }
    assert changed(lora(epochs=1), tiny) == expected


def test_targets(lora: Run, tiny: Path) -> None:
    """Only the layers that are named are adapted, and the head is still trained."""
    output = lora(epochs=1, lora_target=["attention.output.dense", "query"])
    layers = {name.rpartition(".")[0].partition("layer.")[2][2:] for name in changed(output, tiny)}
    assert layers == {"", "attention.output.dense", "attention.self.query"}


@pytest.mark.parametrize("dora", [False, True])
def test_merging_changes_no_figure(lora: Run, capsys: pytest.CaptureFixture[str], dora: bool) -> None:
    """The merged weights have the figures that dev had with the adapters, after the epoch that was kept."""
    found = record(lora(lora_dora=dora, lora_dropout=0.5))
    printed = capsys.readouterr().out
    said = re.search(rf"epoch {found.best_epoch}: dev macro-F1 ([\d.]+), accuracy [\d.]+, loss ([\d.]+)", printed)
    assert said
    metrics = found.metrics["dev"]
    assert [float(each) for each in said.groups()] == pytest.approx([metrics["macro_f1"], metrics["loss"]], abs=1e-4)


def test_target_that_the_encoder_lacks(lora: Run) -> None:
    """A name of no layer is refused with those that there are."""
    with pytest.raises(UserError, match=r"--lora-target nothing: .*; it has dense, key, query, value"):
        lora(lora_target=["query", "nothing"])


@pytest.mark.parametrize(
    "option", [{"lora_rank": 2}, {"lora_alpha": 4}, {"lora_dropout": 0.5}, {"lora_dora": True}, {"precision": "bf16"}]
)
def test_options_shape_the_result(lora: Run, tmp_path: Path, option: dict[str, Any]) -> None:
    """Every option changes the weights; the same options give the same weights."""
    plain, again, other = (
        weights(lora(epochs=1, output=tmp_path / name, **given))
        for name, given in (("plain", {}), ("again", {}), ("other", option))
    )
    assert all(torch.equal(plain[name], again[name]) for name in plain)
    assert not all(torch.equal(plain[name], other[name]) for name in plain)
