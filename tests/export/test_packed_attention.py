"""The packed graph for CUDA, run by onnx's reference evaluator: its attention operator has no kernel on the CPU.

The operators' meaning is written here from ONNX Runtime's schemas of them. As CUDA's kernels do, they compute in fp32
and give fp16. That shows the graph to be wired as the schemas ask; what the kernels do is for the tests marked gpu.
"""

from itertools import pairwise
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx.reference import ReferenceEvaluator
from onnx.reference.op_run import OpRun
from scipy.special import erf, softmax

from bertwire_core.pooling import Pooled, Pooling
from bertwire_export.config import ExportConfig
from bertwire_export.half import to_half
from bertwire_export.packed.build import build_packed
from bertwire_export.packed.linear import Fp32Linears
from bertwire_export.packed.weights import read_encoder
from bertwire_runtime.layouts import Layout, arrange
from graphs import Text, random_batch, tiny_model, tiny_pooled


class PackedMultiHeadAttention(OpRun):
    """Attention within each text of a packed batch."""

    op_domain = "com.microsoft"

    def _run(self, query: Any, key: Any, value: Any, bias: Any, offsets: Any, ends: Any, num_heads: int) -> Any:  # noqa: ANN401
        assert bias is None
        assert offsets.size >= len(query)
        assert sorted(offsets.reshape(-1)) == list(range(offsets.size))
        output = np.empty_like(value)
        for start, end in pairwise(ends):
            q, k, v = (
                each[start:end].reshape(end - start, num_heads, -1).swapaxes(0, 1) for each in (query, key, value)
            )
            weights = softmax(q @ k.swapaxes(1, 2) / np.sqrt(q.shape[-1]), axis=-1)
            output[start:end] = (weights @ v).swapaxes(0, 1).reshape(end - start, -1)
        return (output,)


class BiasGelu(OpRun):
    """GELU of a sum."""

    op_domain = "com.microsoft"

    def _run(self, value: Any, bias: Any) -> Any:  # noqa: ANN401
        total = value.astype(np.float32) + bias
        return ((total * (1 + erf(total / np.sqrt(2))) / 2).astype(value.dtype),)


class SkipLayerNormalization(OpRun):
    """Layer normalization of a sum of three."""

    op_domain = "com.microsoft"

    def _run(self, value: Any, skip: Any, weight: Any, shift: Any, bias: Any, epsilon: float) -> Any:  # noqa: ANN401
        total = value.astype(np.float32) + skip + bias
        apart = total - total.mean(axis=-1, keepdims=True)
        spread = np.sqrt((apart**2).mean(axis=-1, keepdims=True) + epsilon)
        return ((apart / spread * weight + shift).astype(value.dtype),)


class MatMul(OpRun):
    """A matrix product."""

    def _run(self, left: Any, right: Any) -> Any:  # noqa: ANN401
        return ((left.astype(np.float32) @ right.astype(np.float32)).astype(left.dtype),)


class Backwards(MatMul):
    """The product with its terms added up in the opposite order, as a kernel for batches of another size may."""

    def _run(self, left: Any, right: Any) -> Any:  # noqa: ANN401
        return super()._run(left[..., ::-1], right[::-1])


Backwards.__name__ = "MatMul"  # by which the evaluator knows it


def run(model: onnx.ModelProto, texts: list[Text], *, by_token: bool = False, product: type[OpRun] = MatMul) -> Any:  # noqa: ANN401
    """The logits that the evaluator gives for texts in one batch."""
    operators: list[type[OpRun]] = [PackedMultiHeadAttention, BiasGelu, SkipLayerNormalization, product]
    evaluator = ReferenceEvaluator(model, new_ops=operators)
    arrays = arrange(texts, Layout("packed", 0, 0, by_token))
    found: Any = evaluator.run(["logits"], {name: arrays[name] for name in evaluator.input_names})
    return found[0]


@pytest.mark.parametrize("by_token", [False, True])
@pytest.mark.parametrize("half", [False, True])
def test_equals_the_graph_with_groups(by_token: bool, half: bool) -> None:
    """Without groups the graph gives the logits that the one with groups gives, of any length; fp16 nearly."""
    encoder = read_encoder(tiny_model("bert", by_token=by_token))
    texts = random_batch([3, 60, 7, 7, 12])
    model = build_packed(encoder, Fp32Linears(), 0)
    found = run(to_half(model) if half else model, texts, by_token=by_token)

    grouped = onnxruntime.InferenceSession(
        build_packed(encoder, Fp32Linears(), 2).SerializeToString(), providers=["CPUExecutionProvider"]
    )
    arrays = arrange(texts, Layout("packed", 2, 0, by_token))
    expected = grouped.run(["logits"], {each.name: arrays[each.name] for each in grouped.get_inputs()})[0]
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected, atol=0.05 if half else 2e-5)


@pytest.mark.parametrize("tokens", ["first", "mean", "max"])
@pytest.mark.parametrize("half", [False, True])
def test_pooled_as_the_graph_with_groups(tokens: Pooled, half: bool) -> None:
    """Each pooling reads exactly the tokens of each text here too."""
    encoder = read_encoder(tiny_pooled("bert", Pooling(tokens, normalize=True)))
    texts = random_batch([3, 60, 7, 7, 1])
    model = build_packed(encoder, Fp32Linears(), 0)
    found = run(to_half(model) if half else model, texts)
    arrays, grouped = arrange(texts, Layout("packed", 2, 0, by_token=False)), build_packed(encoder, Fp32Linears(), 2)
    session = onnxruntime.InferenceSession(grouped.SerializeToString(), providers=["CPUExecutionProvider"])
    expected = session.run(["logits"], {each.name: arrays[each.name] for each in session.get_inputs()})[0]
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected, atol=0.02 if half else 2e-5)


def test_halves_keep_the_batch_variance() -> None:
    """Logits of 4, of which one step in fp16 is 0.004, move less than the limit when sums are rounded differently."""
    encoder = read_encoder(tiny_model("bert", initializer_range=0.12))
    assert encoder.classifier is not None
    encoder.classifier.bias[:] += 4
    texts = random_batch([3, 20, 7, 12] * 32)
    half = to_half(build_packed(encoder, Fp32Linears(), 0))
    one, other = run(half, texts), run(half, texts, product=Backwards)
    assert one.min() > 2
    assert (one != one.astype(np.float16)).any()
    moved = np.abs(one - other).max()
    assert 0 < moved < ExportConfig.model_fields["fp16_max_batch_variance"].default


@pytest.mark.parametrize("tokens", ["first", "mean", "max", None])
@pytest.mark.parametrize("half", [False, True])
def test_cuda_alone_lacks_no_kernel_but_attention(half: bool, tokens: Pooled | None) -> None:
    """ONNX Runtime's CPU takes every type and knows every other node: with a sum for attention the graph runs."""
    texts = random_batch([3, 60, 7])
    classifier = tiny_pooled("bert", Pooling(tokens, normalize=True)) if tokens else tiny_model("bert")
    model = build_packed(read_encoder(classifier), Fp32Linears(), 0)
    model = to_half(model) if half else model
    with pytest.raises(onnxruntime.capi.onnxruntime_pybind11_state.NotImplemented, match="PackedMultiHeadAttention"):
        onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    for node in model.graph.node:
        if node.op_type == "PackedMultiHeadAttention":
            queries, keys, values = node.input[:3]
            node.CopyFrom(onnx.helper.make_node("Sum", [queries, keys, values], node.output))
    arrays = arrange(texts, Layout("packed", 0, 0, by_token=False))
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    feeds = {each.name: arrays[each.name] for each in session.get_inputs()}
    assert session.run(["logits"], feeds)[0].shape == (3, 3)
