"""Pruning: what is removed, that plain transformers and the packed export take the rest, and how it goes on."""

import shutil
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import onnx
import pytest
import torch
from transformers import AutoConfig, AutoModel, AutoModelForSequenceClassification

from bertwire_core.errors import UserError
from bertwire_export.packed.build import build_packed
from bertwire_export.packed.linear import Fp32Linears, Int8Linears, Linears
from bertwire_export.packed.ranges import measure_ranges
from bertwire_export.packed.weights import read_encoder
from bertwire_runtime.layouts import Layout, arrange
from bertwire_runtime.runner import Runner
from bertwire_trainer.config import TrainConfig
from bertwire_trainer.method import Job
from bertwire_trainer.prepare import prepare
from checkpoints import record, weights
from graphs import random_batch

Run = Callable[..., Path]
Interrupted = Callable[[int], AbstractContextManager[None]]
Rows = list[tuple[str, str]]


@pytest.fixture
def pruned(handed: Callable[..., Job]) -> Callable[..., Any]:
    """The encoder that a run hands to its method; it ends there."""
    return lambda **options: handed(prune=True, **options).model.base_model.eval()


def of_family(tiny: Path, folder: Path, family: str, **settings: Any) -> Path:  # noqa: ANN401 - of the configuration
    """A random encoder of a family with the tokenizer of `tiny`."""
    base = Path(shutil.copytree(tiny, folder / family))
    sizes = {"vocab_size": 97, "hidden_size": 32, "num_hidden_layers": 3, "num_attention_heads": 4, "pad_token_id": 0}
    sizes |= {"hidden_dim": 64} if family == "distilbert" else {"intermediate_size": 64}
    config = AutoConfig.for_model(family, **(sizes | settings))
    AutoModel.from_config(config).save_pretrained(base)
    return base


@pytest.mark.parametrize(
    ("family", "settings"),
    [
        ("bert", {}),
        ("camembert", {}),
        ("distilbert", {}),
        ("electra", {"embedding_size": 16}),
        ("mpnet", {}),
        ("roberta", {}),
        ("xlm-roberta", {}),
    ],
)
def test_families(run: Run, tiny: Path, tmp_path: Path, family: str, settings: dict[str, Any]) -> None:
    """The published tensors are smaller, and plain transformers loads the folder without a remark."""
    base = of_family(tiny, tmp_path, family, **settings)
    output = run(model=str(base), prune=True, prune_layers=2, prune_width=0.3, epochs=1)
    model, report = AutoModelForSequenceClassification.from_pretrained(output, output_loading_info=True)
    assert not any(report.values())
    width = model.config.hidden_dim if family == "distilbert" else model.config.intermediate_size
    assert (model.config.num_hidden_layers, width) == (2, 19)
    stored = weights(output).values()
    assert sum(tensor.shape == (19, 32) for tensor in stored) == 2
    assert not any(64 in tensor.shape and 32 in tensor.shape for tensor in stored if len(tensor) == 64)
    found = record(output).stages["prune"]
    assert (found["layers"], found["width"], found["prune_layers"], found["prune_width"]) == (2, 19, 2, 0.3)
    assert found["weights"] == model.num_parameters() < found["weights_before"]


@pytest.mark.parametrize("method", ["lora", "frozen"])
def test_other_methods(run: Run, method: str) -> None:
    """The other methods train what is left."""
    loop = {"epochs": None, "batch_size": None, "learning_rate": None} if method == "frozen" else {"epochs": 1}
    output = run(method=method, prune=True, prune_layers=1, prune_width=0.5, **loop)
    assert AutoConfig.from_pretrained(output).intermediate_size == 32


def test_the_first_layers_stay(pruned: Callable[..., Any], tiny: Path) -> None:
    """The layers that are kept have the base's weights."""
    encoder, base = pruned(prune_layers=1), AutoModel.from_pretrained(tiny)
    assert len(encoder.encoder.layer) == 1
    found, expected = (each.encoder.layer[0].state_dict() for each in (encoder, base))
    assert all(torch.equal(found[name], expected[name]) for name in expected)


def test_neurons_that_add_nothing_go(pruned: Callable[..., Any], tiny: Path, tmp_path: Path) -> None:
    """Without the neurons whose output is 0 the encoder gives the same vectors."""
    base = Path(shutil.copytree(tiny, tmp_path / "half"))
    model = AutoModel.from_pretrained(tiny)
    with torch.no_grad():
        model.encoder.layer[0].output.dense.weight[:, ::2] = 0
        model.encoder.layer[1].output.dense.weight[:, :32] = 0
    model.save_pretrained(base)
    encoder = pruned(model=str(base), prune_width=0.5)
    ids = torch.tensor([[2, 5, 6, 7, 3]])
    with torch.inference_mode():
        found, expected = (each.eval()(ids).last_hidden_state for each in (encoder, model))
    assert encoder.encoder.layer[1].intermediate.dense.out_features == 32
    assert torch.allclose(found, expected, atol=1e-5)


@pytest.mark.parametrize("int8", [False, True])
def test_packed_export(run: Run, tmp_path: Path, int8: bool) -> None:
    """The packed graph of a pruned checkpoint gives PyTorch's logits, in int8 near them."""
    output = run(prune=True, prune_layers=1, prune_width=0.6, epochs=1)
    model = AutoModelForSequenceClassification.from_pretrained(output, attn_implementation="eager").eval()
    encoder, texts = read_encoder(model), random_batch([3, 14, 9, 5])
    shape = (1, encoder.by_token, encoder.skips_padding)
    linears: Linears = Fp32Linears()
    if int8:
        batches = [arrange(random_batch([3, 14, 9, 5], seed), Layout("packed", 1, *shape)) for seed in (7, 8)]
        linears = Int8Linears(measure_ranges(encoder, 1, batches))
    onnx.save(build_packed(encoder, linears, 3), tmp_path / "packed.onnx")
    answers = Runner(tmp_path / "packed.onnx", Layout("packed", 3, *shape), "cpu", threads=1).by_text(texts)
    for text, answer in zip(texts, answers, strict=True):
        with torch.inference_mode():
            ids, types = torch.tensor([text.ids]), torch.tensor([text.type_ids])
            expected = model(input_ids=ids, token_type_ids=types).logits[0]
        assert torch.allclose(torch.from_numpy(answer), expected, atol=0.2 if int8 else 2e-5)


def test_interrupted(run: Run, interrupted: Interrupted, tmp_path: Path) -> None:
    """Ctrl-C in training, then --resume, gives the weights of an uninterrupted run."""
    options = {"prune": True, "prune_layers": 1, "prune_width": 0.5}
    whole = run(output=tmp_path / "whole", **options)

    with interrupted(8):
        run(**options)
    resumed = run(resume=True, **options)
    one, other = map(weights, (whole, resumed))
    assert max(float((one[name] - other[name]).abs().max()) for name in one) < 1e-6


def test_before_self_training(run: Run, tmp_path: Path, separable: Callable[..., Rows]) -> None:
    """Every round of self-training trains the pruned encoder."""
    texts = tmp_path / "more.txt"
    texts.write_text("\n".join(text for text, _ in separable(32, 1000)))
    output = run(prune=True, prune_layers=1, self_train=[texts], self_train_members=2, epochs=1)
    assert AutoConfig.from_pretrained(output).num_hidden_layers == 1


def test_more_layers_than_there_are(run: Run) -> None:
    """A number of layers that leaves the encoder as it is is refused."""
    with pytest.raises(UserError, match=r"^--prune-layers 2: tiny-bert has 2 layers only$"):
        run(prune=True, prune_layers=2)


def test_other_types(run: Run, tiny: Path, tmp_path: Path) -> None:
    """A type whose layers are not known is refused."""
    base = of_family(tiny, tmp_path, "albert", embedding_size=16)
    with pytest.raises(UserError, match=r"^--prune is for bert, .*; albert is of the type 'albert'$"):
        run(model=str(base), prune=True, prune_layers=1)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"prune": True}, "^--prune needs --prune-layers or --prune-width$"),
        ({"prune_layers": 2}, "^--prune-layers needs --prune$"),
    ],
)
def test_faulty_options(tmp_path: Path, write_rows: Any, separable: Any, options: Any, message: str) -> None:  # noqa: ANN401
    """Options that lack each other are one line before PyTorch is loaded."""
    with pytest.raises(UserError, match=message):
        prepare(TrainConfig(train=write_rows("train.jsonl", separable(24)), output=tmp_path / "out", **options))
