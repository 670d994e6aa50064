"""What LoRA and IA3 have in common: encoders, the share of weights that is trained, and how they go on."""

import shutil
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest
import torch

from checkpoints import record, weights
from graphs import tiny_model

Run = Callable[..., Path]
Interrupted = Callable[[int], AbstractContextManager[None]]

RATES = {"ia3": 3e-2, "lora": 1e-2}
FAMILIES: dict[str, dict[str, Any]] = {
    "albert": {},
    "deberta-v2": {"relative_attention": True, "pos_att_type": ["p2c", "c2p"]},
    "distilbert": {},
    "electra": {},
    "modernbert": {"pad_token_id": 0},
    "mpnet": {},
    "roberta": {"pad_token_id": 0},
}


@pytest.mark.parametrize(
    ("method", "options", "adapters"),
    [("ia3", {}, 2 * (32 + 32 + 64)), ("lora", {"lora_rank": 2}, 2 * 2 * (4 * 64 + 2 * 96))],
)
def test_share_of_trained_weights(
    run: Run, capsys: pytest.CaptureFixture[str], method: str, options: dict[str, Any], adapters: int
) -> None:
    """It is recorded and printed, with the head (a pooler and two labels) and without."""
    output = run(method=method, epochs=1, **options)
    head = 32 * 32 + 32 + 2 * 32 + 2
    total = sum(each.numel() for each in weights(output).values()) + adapters
    expected = {"trained_share": (adapters + head) / total, "adapter_share": adapters / total}
    assert record(output).chosen == pytest.approx(expected, abs=1e-6)
    said = f"trains {(adapters + head) / total:.2%} of the weights: {adapters / total:.2%} in"
    assert said in capsys.readouterr().err


@pytest.mark.parametrize("method", RATES)
@pytest.mark.parametrize("family", FAMILIES)
def test_families(run: Run, tiny: Path, tmp_path: Path, family: str, method: str) -> None:
    """Encoders that share layers between depths, or have layers of other names, train and are published."""
    base = Path(shutil.copytree(tiny, tmp_path / family))
    tiny_model(family, vocab_size=97, **FAMILIES[family]).save_pretrained(base)
    assert record(run(method=method, model=str(base), epochs=1)).base_model == family


@pytest.mark.parametrize("method", RATES)
def test_resumed_is_as_uninterrupted(run: Run, interrupted: Interrupted, tmp_path: Path, method: str) -> None:
    """Ctrl-C in the second epoch, then --resume, gives the weights of an uninterrupted run."""
    options = {"method": method, "learning_rate": RATES[method], "epochs": 4}
    whole = weights(run(output=tmp_path / "whole", **options))
    with interrupted(9):
        run(**options)
    resumed = weights(run(resume=True, **options))
    for name, tensor in whole.items():
        torch.testing.assert_close(resumed[name], tensor, atol=1e-6, rtol=0)
