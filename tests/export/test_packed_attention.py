"""The packed graph for CUDA, run by onnx's reference evaluator: its attention operator has no kernel on the CPU.

The operator's meaning is written here from ONNX Runtime's schema of it. That shows the graph to be wired as the schema
asks; that CUDA's kernel does the same is for the tests marked gpu.
"""

from itertools import pairwise
from typing import Any

import numpy as np
import onnxruntime
import pytest
from onnx.reference import ReferenceEvaluator
from onnx.reference.op_run import OpRun
from scipy.special import erf, softmax

from bertwire_export.bundle.layouts import Layout, arrange
from bertwire_export.half import to_half
from bertwire_export.packed.build import build_packed
from bertwire_export.packed.linear import Fp32Linears
from bertwire_export.packed.weights import read_encoder
from graphs import random_batch, tiny_model


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
        total = value + bias
        return ((total * (1 + erf(total / np.sqrt(2))) / 2).astype(value.dtype),)


@pytest.mark.parametrize("by_token", [False, True])
@pytest.mark.parametrize("half", [False, True])
def test_equals_the_graph_with_groups(by_token: bool, half: bool) -> None:
    """Without groups the graph gives the logits that the one with groups gives, of any length; fp16 nearly."""
    encoder = read_encoder(tiny_model("bert", by_token=by_token))
    texts = random_batch([3, 60, 7, 7, 12])
    model = build_packed(encoder, Fp32Linears(), 0)
    packed = ReferenceEvaluator(to_half(model) if half else model, new_ops=[PackedMultiHeadAttention, BiasGelu])
    arrays = arrange(texts, Layout("packed", 0, 0, by_token))
    found: Any = packed.run(["logits"], {name: arrays[name] for name in packed.input_names})

    grouped = onnxruntime.InferenceSession(
        build_packed(encoder, Fp32Linears(), 2).SerializeToString(), providers=["CPUExecutionProvider"]
    )
    arrays = arrange(texts, Layout("packed", 2, 0, by_token))
    expected = grouped.run(["logits"], {each.name: arrays[each.name] for each in grouped.get_inputs()})[0]
    assert found[0].dtype == np.float32
    np.testing.assert_allclose(found[0], expected, atol=0.05 if half else 2e-5)
