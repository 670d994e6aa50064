"""Padded int8, which serves models that no packed graph is known for."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hypothesis_numpy

from bertwire_export.cli import run_export
from bertwire_export.config import ExportConfig, Precision
from bertwire_export.convert import convert, fuse
from bertwire_export.int8 import Floats, Range, quantize_weight
from bertwire_export.quantize import quantize_padded
from bertwire_runtime.bundle import open_bundle
from bertwire_runtime.bundle.saturation import can_saturate
from bertwire_runtime.layouts import Layout, arrange
from bertwire_runtime.runner import Runner
from graphs import export, put_model, random_batch, session_operators, tiny_model
from support import SPECIAL, WORDS

LENGTHS = [3, 60, 4, 31, 60, 3, 17, 2]
# One product of each linear layer of the 2 layers; ALBERT has one more after its embeddings.
PRODUCTS = {"bert": 12, "albert": 13, "mpnet": 12}
PADDING = {"mpnet": 1}


def write(family: str, folder: Path, *, by_token: bool = False, layers: int = 2) -> tuple[Runner, Runner]:
    """Converts a tiny model of the family; returns its fp32 and its int8 graph, each in a session."""
    layout = Layout("padded", 0, PADDING.get(family, 0), by_token)
    model = tiny_model(family, by_token=by_token, layers=layers)
    convert(model, folder / "unfused.onnx")
    fuse(folder / "unfused.onnx", model, folder / "fp32.onnx", attention=False)
    texts = random_batch(LENGTHS, seed=7) + random_batch(LENGTHS, seed=8)
    quantize_padded(folder / "fp32.onnx", (arrange([text], layout) for text in texts), folder / "int8.onnx")
    fp32, int8 = (Runner(folder / f"{name}.onnx", layout, "cpu", threads=1) for name in ("fp32", "int8"))
    return fp32, int8


def flat(logits: Sequence[Floats]) -> Floats:
    """All numbers in a row."""
    return np.concatenate([each.ravel() for each in logits])


@pytest.mark.parametrize("by_token", [False, True], ids=["text", "token"])
@pytest.mark.parametrize("family", PRODUCTS)
def test_padded_int8_is_near_in_any_batch(tmp_path: Path, family: str, by_token: bool) -> None:
    """Logits lie near those in fp32, and the other texts of a batch move them by no more than export allows."""
    fp32, int8 = write(family, tmp_path, by_token=by_token)
    texts = random_batch(LENGTHS)
    expected, found = flat(fp32.by_text(texts)), flat(int8.by_text(texts))
    assert 0 < np.abs(found - expected).mean() < 0.2 * expected.std()
    alone = flat([int8.by_text([text])[0] for text in texts])
    assert np.abs(found - alone).max() <= 1e-3


@pytest.mark.parametrize("by_token", [False, True], ids=["text", "token"])
@pytest.mark.parametrize("family", PRODUCTS)
def test_session_runs_integer_products(tmp_path: Path, family: str, by_token: bool) -> None:
    """Every product of a weight with all tokens is one of integers in the session too, on fixed scales."""
    write(family, tmp_path, by_token=by_token)
    found = session_operators(tmp_path / "int8.onnx")
    assert found["MatMulIntegerToFloat"] == PRODUCTS[family] + by_token
    # Attention multiplies activations with each other, which stays fp32: two products a layer.
    assert found["MatMul"] + found["FusedMatMul"] == 2 * 2
    # Pooler and classifier of a text work on its first token alone.
    assert found["Gemm"] + found["FusedGemm"] == (0 if by_token else 2)
    assert [found[name] for name in ("MatMulNBits", "DynamicQuantizeLinear", "DequantizeLinear")] == [0, 0, 0]


def test_weights_are_stored_in_int8_alone(tmp_path: Path) -> None:
    """The fp32 weights do not stay in the file beside their int8."""
    write("bert", tmp_path)
    sizes = {name: (tmp_path / f"{name}.onnx").stat().st_size for name in ("fp32", "int8")}
    products = 2 * (4 * 32 * 32 + 2 * 32 * 64)
    assert sizes["fp32"] - sizes["int8"] > 2 * products


def test_shared_weights_are_stored_once(tmp_path: Path) -> None:
    """ALBERT's layers share their weights, in int8 too: a layer more adds none."""
    stored = []
    for layers in (1, 3):
        write("albert", tmp_path, layers=layers)
        tensors = onnx.load(tmp_path / "int8.onnx").graph.initializer
        stored.append(sum(np.prod(each.dims) for each in tensors if each.data_type == onnx.TensorProto.INT8))
    assert stored[0] == stored[1]


def test_model_without_packed_graph_is_padded(
    checkpoint_copy: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """An ALBERT becomes a bundle of padded graphs, and the command says why nothing in it is packed."""
    put_model(tiny_model("albert", vocab_size=len(SPECIAL + WORDS)), checkpoint_copy)
    run_export(
        ExportConfig(
            checkpoint=checkpoint_copy, output=tmp_path / "out", quick=True, int8_min_agreement=0, int8_max_drop=1
        )
    )
    reason = "every graph computes padding: no packed graph for the model type albert"
    assert reason in capsys.readouterr().err.splitlines()
    variants = open_bundle(tmp_path / "out").manifest.variants
    assert {(each.name, each.layout, each.groups) for each in variants} == {
        ("fp32-padded", "padded", 0),
        ("int8-padded", "padded", 0),
    }


def test_model_without_segments_is_published(checkpoint_copy: Path, tmp_path: Path) -> None:
    """An MPNet, whose graph takes no segments, keeps the limits of int8."""
    model = tiny_model("mpnet", vocab_size=len(SPECIAL + WORDS), pad_token_id=0)
    put_model(model, checkpoint_copy)
    outcome = export(checkpoint_copy, tmp_path / "out", variants=[Precision.INT8])
    (proven,) = outcome.proven
    assert proven.proofs[0].faults == ()
    assert proven.proofs[0].batch_variance <= 1e-3
    assert outcome.manifest is not None
    assert [each.name for each in outcome.manifest.variants] == ["int8-padded"]


@given(hypothesis_numpy.arrays(np.float32, (5, 3), elements=st.floats(-100, 100, width=32)))
def test_weights_come_back_within_half_a_step(weight: Floats) -> None:
    """Each column has its own scale, rounds to the nearest number, and can saturate no product."""
    numbers, scale = quantize_weight(weight)
    assert numbers.dtype == np.int8
    assert (numbers.shape, scale.shape) == (weight.shape, (3,))
    assert np.abs(numbers.astype(int)).max() <= 127
    assert not can_saturate(numbers.tobytes(), columns=3)
    assert (np.abs(numbers * scale - weight) <= scale * 0.501).all()


RANGES = st.tuples(
    hypothesis_numpy.arrays(np.float32, 4, elements=st.floats(-10000, 0, width=32)),
    hypothesis_numpy.arrays(np.float32, 4, elements=st.floats(0, 10000, width=32)),
).map(lambda ends: Range(*ends))


@given(RANGES)
def test_range_covers_all_channels(values: Range) -> None:
    """Both ends of the widest channels are covered to half a step, and 0 is 0 exactly."""
    scale, zero = values.scale_and_zero()
    assert scale > 0
    for value in (float(values.low.min()), float(values.high.max())):
        number = np.clip(round(value / float(scale)) + int(zero), 0, 255)
        assert abs(float(scale) * (number - int(zero)) - value) <= float(scale) * 0.51


@given(RANGES)
def test_smoothing_narrows_wide_channels(values: Range) -> None:
    """Factors are positive and 1 on average, and what is divided by them is no further apart than before."""
    factors = values.smoothing()
    assert factors.dtype == np.float32
    assert (factors > 0).all()
    assert np.log(factors.astype(np.float64)).mean() == pytest.approx(0, abs=1e-3)
    widest = [np.maximum(np.maximum(-each.low, each.high), 1e-6) for each in (values, values.divided(factors))]
    before, after = (each.max() / each.min() for each in widest)
    assert after <= before * 1.001
