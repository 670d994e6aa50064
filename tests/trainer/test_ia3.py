"""IA3: what is trained, what is published, and how it goes on."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForSequenceClassification

from checkpoints import record, weights
from rows import ROWS, write

Run = Callable[..., Path]


@pytest.fixture
def ia3(run: Run) -> Run:
    """Return a function that trains the tiny checkpoint with IA3; options replace the defaults."""

    def start(**options: Any) -> Path:  # noqa: ANN401 - any option of the command
        return run(**({"method": "ia3", "learning_rate": 3e-2, "epochs": 4} | options))

    return start


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


@pytest.mark.parametrize("kind", ROWS)
def test_tasks(ia3: Run, tmp_path: Path, kind: str) -> None:
    """Every task trains."""
    train, dev = (write(tmp_path / f"{name}.jsonl", ROWS[kind], range(24)) for name in ("some", "others"))
    assert record(ia3(train=train, dev=dev, epochs=1)).method == "ia3"
