"""Packed graphs: PyTorch's logits whatever the other texts of the batch, and the operators that make them fast."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from numpy.typing import NDArray
from transformers import PreTrainedModel

from bertwire_export.candidates import Workshop
from bertwire_export.checkpoint import load_checkpoint
from bertwire_export.config import Precision
from bertwire_export.convert import convert, fuse
from bertwire_export.packed.build import build_packed
from bertwire_export.packed.linear import Fp32Linears, Int8Linears, Linears
from bertwire_export.packed.ranges import measure_ranges
from bertwire_export.packed.weights import NotPackable, read_encoder
from bertwire_export.quantize import quantize_padded
from bertwire_runtime.layouts import Layout, arrange
from bertwire_runtime.runner import Runner
from graphs import Text, random_batch, session_operators, tiny_model

FAMILIES = ["bert", "roberta", "xlm-roberta", "camembert", "distilbert", "electra"]
GROUPS = 3
# Short and long side by side, in no order; more texts than groups.
LENGTHS = [3, 60, 4, 31, 60, 3, 17, 2]
Floats = NDArray[np.float32]


def pytorch(model: PreTrainedModel, text: Text) -> Floats:
    """The model's logits for one text: float32 [labels] or [tokens, labels]."""
    inputs = {"input_ids": text.ids}
    if getattr(model.config, "type_vocab_size", 0) > 1:
        inputs["token_type_ids"] = text.type_ids
    with torch.inference_mode():
        logits: Floats = model(**{name: torch.tensor([values]) for name, values in inputs.items()}).logits[0].numpy()
    return logits


def write(model: PreTrainedModel, path: Path, *, int8: bool = False, groups: int = GROUPS) -> Runner:
    """Writes the packed graph of a model to `path` and opens it."""
    encoder = read_encoder(model)
    linears: Linears = Fp32Linears()
    if int8:
        batches = [
            arrange(random_batch(LENGTHS, seed), Layout("packed", 1, 1, encoder.by_token, encoder.skips_padding))
            for seed in (7, 8)
        ]
        linears = Int8Linears(measure_ranges(encoder, 1, batches))
    onnx.save(build_packed(encoder, linears, groups), path)
    return Runner(path, Layout("packed", groups, 1, encoder.by_token, encoder.skips_padding), "cpu", threads=1)


def distance(found: list[Floats], expected: list[Floats]) -> float:
    """Largest absolute difference of any logit."""
    for one, other in zip(found, expected, strict=True):
        assert one.dtype == np.float32
        assert one.shape == other.shape
    return max(float(np.abs(one - other).max()) for one, other in zip(found, expected, strict=True))


def variance(runner: Runner, texts: list[Text]) -> float:
    """Largest difference of a text's logits alone and among the others."""
    return distance(runner.by_text(texts), [runner.by_text([text])[0] for text in texts])


@pytest.mark.parametrize("by_token", [False, True], ids=["text", "token"])
@pytest.mark.parametrize("family", FAMILIES)
def test_fp32_gives_pytorchs_logits(tmp_path: Path, family: str, by_token: bool) -> None:
    """On batches of mixed lengths with two segments, and the same alone and in a batch."""
    model = tiny_model(family, by_token=by_token)
    runner = write(model, tmp_path / "fp32.onnx")
    for seed in range(2):
        texts = random_batch(LENGTHS, seed)
        assert distance(runner.by_text(texts), [pytorch(model, text) for text in texts]) < 2e-5
        assert variance(runner, texts) < 1e-5


@pytest.mark.parametrize("by_token", [False, True], ids=["text", "token"])
@pytest.mark.parametrize("family", FAMILIES)
def test_int8_is_near_in_any_batch(tmp_path: Path, family: str, by_token: bool) -> None:
    """Int8 logits lie near PyTorch's, and are the very same alone and in a batch."""
    model = tiny_model(family, by_token=by_token)
    runner = write(model, tmp_path / "int8.onnx", int8=True)
    texts = random_batch(LENGTHS)
    expected = [pytorch(model, text) for text in texts]
    error = np.abs(np.concatenate(runner.by_text(texts), axis=None) - np.concatenate(expected, axis=None))
    assert error.mean() < 0.2 * np.concatenate(expected, axis=None).std()
    assert variance(runner, texts) == 0


def test_wide_channels_are_narrowed(tmp_path: Path) -> None:
    """Where a few channels of a norm are far wider than the others, int8 errs a quarter less than padded int8 does."""
    model = tiny_model("bert")
    for layer in model.base_model.encoder.layer:  # type: ignore[union-attr]
        layer.attention.output.LayerNorm.weight.data[:3] *= 30
    convert(model, tmp_path / "unfused.onnx")
    fuse(tmp_path / "unfused.onnx", model, tmp_path / "fp32.onnx", attention=False)
    padded = Layout("padded", 0, 1, by_token=False)
    measured = [text for seed in (7, 8) for text in random_batch(LENGTHS, seed)]
    quantize_padded(tmp_path / "fp32.onnx", (arrange([text], padded) for text in measured), tmp_path / "padded.onnx")
    runners = (
        write(model, tmp_path / "int8.onnx", int8=True),
        Runner(tmp_path / "padded.onnx", padded, "cpu", threads=1),
    )
    texts = random_batch(LENGTHS)
    expected = np.stack([pytorch(model, text) for text in texts])
    smoothed, plain = (np.abs(np.stack(runner.by_text(texts)) - expected).mean() for runner in runners)
    assert smoothed < 0.75 * plain


@pytest.mark.parametrize("groups", [1, 2, 6, 16])
@pytest.mark.parametrize("layers", [1, 2])
def test_any_number_of_groups_and_layers(tmp_path: Path, groups: int, layers: int) -> None:
    """One layer, one group, and more groups than texts give PyTorch's logits too, for one text and for many."""
    model = tiny_model("bert", layers=layers)
    runner = write(model, tmp_path / "fp32.onnx", groups=groups)
    for lengths in ([1], [60], LENGTHS, [5] * 40):
        texts = random_batch(lengths)
        assert distance(runner.by_text(texts), [pytorch(model, text) for text in texts]) < 2e-5


@pytest.mark.parametrize("family", ["roberta", "xlm-roberta"])
def test_model_of_one_segment_reads_none(tmp_path: Path, family: str) -> None:
    """A model with one row of segments, as published ones have, gives every text that row, whatever its tokenizer."""
    model = tiny_model(family, type_vocab_size=1)
    runner = write(model, tmp_path / "fp32.onnx")
    texts = random_batch(LENGTHS)
    assert "token_type_ids" not in runner.arrange(texts)
    assert distance(runner.by_text(texts), [pytorch(model, text) for text in texts]) < 2e-5


@pytest.mark.parametrize(("layers", "groups"), [(1, 1), (1, 4), (2, 3)])
@pytest.mark.parametrize("by_token", [False, True], ids=["text", "token"])
@pytest.mark.parametrize("int8", [False, True], ids=["fp32", "int8"])
@pytest.mark.parametrize("family", FAMILIES)
def test_session_runs_the_fast_operators(
    tmp_path: Path, family: str, int8: bool, by_token: bool, layers: int, groups: int
) -> None:
    """What ONNX Runtime makes of the graph keeps attention, GELU and the integer products fused, and norms apart."""
    path = tmp_path / "graph.onnx"
    write(tiny_model(family, by_token=by_token, layers=layers), path, int8=int8, groups=groups)
    found = session_operators(path)
    encoder_layers = 6 * layers + (family == "electra")
    head_layers = 1 if by_token else 2
    assert found["MultiHeadAttention"] == layers * groups
    assert found["BiasGelu"] == layers
    assert found["LayerNormalization"] == 2 * layers + 1
    slow = ("SkipLayerNormalization", "Attention", "Softmax", "DynamicQuantizeLinear", "DequantizeLinear")
    assert [found[name] for name in (*slow, "MatMulNBits", "MatMulInteger", "QLinearMatMul")] == [0] * 8
    exact = found["MatMul"] + found["Gemm"] + found["FusedMatMul"] + found["FusedGemm"]
    assert exact == head_layers + (0 if int8 else encoder_layers)
    assert found["MatMulIntegerToFloat"] == (encoder_layers if int8 else 0)


def adapter(model: PreTrainedModel) -> None:
    """Gives a model weights that its family does not have."""
    model.base_model.adapter = torch.nn.Linear(2, 2)


def no_pooler(model: PreTrainedModel) -> None:
    """Takes weights that its family has from a model."""
    del model.base_model.pooler


def relative_positions(model: PreTrainedModel) -> None:
    """Makes a model one with relative positions, as older transformers releases had."""
    model.config.position_embedding_type = "relative_key"


@pytest.mark.parametrize(
    ("family", "settings", "change", "reason"),
    [
        ("bert", {"hidden_act": "relu"}, None, "no packed graph for the activation relu"),
        ("bert", {"hidden_act": "gelu_new"}, None, "no packed graph for the activation gelu_new"),
        ("distilbert", {"activation": "relu"}, None, "no packed graph for the activation relu"),
        ("bert", {"is_decoder": True}, None, "no packed graph for decoders"),
        ("albert", {}, None, "no packed graph for the model type albert"),
        ("mpnet", {}, None, "no packed graph for the model type mpnet"),
        ("bert", {}, relative_positions, "no packed graph for relative_key positions"),
        ("bert", {}, adapter, r"no packed graph for models with the weight bert\.adapter\.bias"),
        ("bert", {}, no_pooler, r"no packed graph for models without the weight bert\.pooler\.dense\.weight"),
    ],
)
def test_other_structures_are_not_packable(
    family: str, settings: dict[str, Any], change: Callable[[PreTrainedModel], None] | None, reason: str
) -> None:
    """A model that the packed graph would compute otherwise than PyTorch is refused with what stands in the way."""
    model = tiny_model(family, **settings)
    if change is not None:
        change(model)
    with pytest.raises(NotPackable, match=f"^{reason}$"):
        read_encoder(model)


@pytest.mark.parametrize("family", ["roberta", "xlm-roberta", "camembert"])
def test_padding_tokens_within_a_text(family: str, tmp_path: Path) -> None:
    """A text that holds the padding token itself has PyTorch's positions: RoBERTa's leave that token out."""
    model = tiny_model(family)
    texts = random_batch([9, 5, 30])
    for place in (3, 4):
        texts[0].ids[place] = model.config.pad_token_id
    texts[2].ids[20] = model.config.pad_token_id
    with torch.no_grad():
        expected = [
            model(input_ids=torch.tensor([text.ids]), token_type_ids=torch.tensor([text.type_ids])).logits[0].numpy()
            for text in texts
        ]
    np.testing.assert_allclose(write(model, tmp_path / "graph.onnx").by_text(texts), expected, atol=2e-5)


@pytest.mark.parametrize(("length", "groups"), [(16, 4), (500, 9)])
def test_long_texts_have_more_groups(checkpoint: Path, tmp_path: Path, length: int, groups: int) -> None:
    """The number of groups is of the length of the texts that the model is exported on, for every packed CPU graph."""
    loaded = load_checkpoint(checkpoint)
    texts = random_batch([3, length, length])
    workshop = Workshop(loaded, read_encoder(loaded.model), texts, tmp_path, convert=lambda _: None)
    recipes = workshop.recipes([Precision.FP32, Precision.INT8], ["cpu"])
    assert {each.name: each.layout.groups for each in recipes} == dict.fromkeys(("fp32-packed", "int8-packed"), groups)


def test_cuda_has_packed_graphs_without_groups(checkpoint: Path, tmp_path: Path) -> None:
    """An empty group is a launch that CUDA refuses: fp32 has a graph for each provider, no other is built twice."""
    loaded = load_checkpoint(checkpoint)
    workshop = Workshop(loaded, read_encoder(loaded.model), random_batch([3]), tmp_path, convert=lambda _: None)
    recipes = workshop.recipes(list(Precision), ["cpu", "cuda"])
    assert {each.name: (each.providers, each.layout.groups > 0) for each in recipes} == {
        "fp32-packed": (("cpu",), True),
        "fp32-packed-cuda": (("cuda",), False),
        "fp16-packed": (("cuda",), False),
        "int8-packed": (("cpu",), True),
    }
