"""Quantize graphs in the padded layout, whatever model they are of."""

from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from bertwire_export.int8 import Range, quantize_weight, value_ranges
from bertwire_export.packed.graph import CONTRIB
from bertwire_runtime.layouts import Arrays


def quantize_padded(source: Path, batches: Iterable[Arrays], path: Path) -> None:
    """Write the padded fp32 graph at `source` to `path` with every product of a constant weight in int8.

    Activations are uint8 on one scale measured on `batches`, weights int8 on one scale a column. ONNX Runtime's own
    static quantization is not used: its sessions turn such products into MatMulNBits, which is slower than fp32.
    """
    model = onnx.load(source)
    weights = {each.name: each for each in model.graph.initializer}
    products = [node for node in model.graph.node if node.op_type == "MatMul" and node.input[1] in weights]
    ranges = value_ranges(model, list(dict.fromkeys(node.input[0] for node in products)), batches)
    quantized = {value: _quantize_input(model.graph, value, ranges[value]) for value in ranges}
    # By name: layers that share a weight, as all of ALBERT's do, go on sharing it.
    shared = dict.fromkeys(node.input[1] for node in products)
    integers = {name: _store_integers(model.graph, weights[name]) for name in shared}
    for node in products:
        numbers, scale, zero = quantized[node.input[0]]
        weight, weight_scale, weight_zero = integers[node.input[1]]
        node.op_type, node.domain = "MatMulIntegerToFloat", CONTRIB
        node.input[:] = [numbers, weight, scale, weight_scale, zero, weight_zero]
    used = {name for node in model.graph.node for name in node.input}
    kept = [each for each in model.graph.initializer if each.name in used]
    del model.graph.initializer[:]
    model.graph.initializer.extend(kept)
    if not any(each.domain == CONTRIB for each in model.opset_import):
        model.opset_import.append(helper.make_opsetid(CONTRIB, 1))
    onnx.save(model, path)


def _quantize_input(graph: onnx.GraphProto, value: str, values: Range) -> tuple[str, str, str]:
    """Add the quantization of a value before its first reader, and return the names of numbers, scale, zero."""
    names = f"{value}.numbers", f"{value}.scale", f"{value}.zero"
    _add_constants(graph, dict(zip(names[1:], values.scale_and_zero(), strict=True)))
    first = next(index for index, node in enumerate(graph.node) if value in node.input)
    graph.node.insert(first, helper.make_node("QuantizeLinear", [value, *names[1:]], names[:1], f"{value}.quantize"))
    return names


def _store_integers(graph: onnx.GraphProto, weight: onnx.TensorProto) -> tuple[str, str, str]:
    """Add a weight in int8, and return the names of numbers, scale, zero."""
    names = f"{weight.name}.weight", f"{weight.name}.weight_scale", f"{weight.name}.weight_zero"
    numbers, scale = quantize_weight(numpy_helper.to_array(weight))
    _add_constants(graph, dict(zip(names, (numbers, scale, np.zeros_like(scale, np.int8)), strict=True)))
    return names


def _add_constants(graph: onnx.GraphProto, arrays: Mapping[str, NDArray[np.generic] | np.generic]) -> None:
    graph.initializer.extend(numpy_helper.from_array(np.asarray(array), name) for name, array in arrays.items())
