"""Convert fp32 graphs to fp16."""

from collections.abc import Iterable
from typing import Any

import onnx
from onnx import TensorProto, helper
from onnxruntime.transformers.float16 import convert_float_to_float16


def to_half(model: onnx.ModelProto) -> onnx.ModelProto:
    """Return the graph in fp16 up to its last normalization, with pooler and classifier in fp32.

    Logits that leave in fp16 have steps of 0.002 above 2: one step is more than the batch variance may be. Inputs and
    logits keep their types.
    """
    head = _head(model.graph)
    body = onnx.ModelProto()
    body.CopyFrom(model)
    _replace(body.graph.node, _body(model.graph, head))
    # The head reads copies: of weights, since ONNX Runtime's fusions keep one tensor of those that are equal, and of
    # what it shares with the body.
    outputs = {each.name for each in model.graph.output}
    own = {weight.name for weight in model.graph.initializer} | {
        name for node in head for name in node.output
    } - outputs
    asked = dict.fromkeys(value for node in head for value in node.input)
    if head:
        made = {value for node in body.graph.node for value in node.output} - own
        # The converter puts Casts where a graph ends, and none around the nodes that it is told to leave alone.
        ends = [helper.make_tensor_value_info(value, TensorProto.FLOAT, None) for value in asked if value in made]
        _replace(body.graph.output, ends)
    half: onnx.ModelProto = convert_float_to_float16(body, keep_io_types=True, disable_shape_infer=True)
    for weight in model.graph.initializer:
        if weight.name in asked:
            half.graph.initializer.add().CopyFrom(weight)
            half.graph.initializer[-1].name = f"{weight.name}.fp32"
    for node in head:
        half.graph.node.add().CopyFrom(node)
        for names in (half.graph.node[-1].input, half.graph.node[-1].output):
            _replace(names, [f"{name}.fp32" if name in own else name for name in names])
    _replace(half.graph.output, model.graph.output)
    return half


def _body(graph: onnx.GraphProto, head: list[onnx.NodeProto]) -> list[onnx.NodeProto]:
    """Return the nodes before the head, in the graph's order, with those of the head that they read too."""
    ours = {node.output[0] for node in head}
    makers = {value: node for node in graph.node for value in node.output}
    left = [value for node in graph.node if node.output[0] not in ours for value in node.input]
    while left:
        maker = makers.get(left.pop())
        if maker is not None and maker.output[0] in ours:
            ours.remove(maker.output[0])
            left += maker.input
    return [node for node in graph.node if node.output[0] not in ours]


def _head(graph: onnx.GraphProto) -> list[onnx.NodeProto]:
    """Return the nodes after the last normalization, in the graph's order; none where there is no normalization."""
    makers = {value: node for node in graph.node for value in node.output}
    head, left, normalized = set(), [each.name for each in graph.output], False
    while left:
        maker = makers.get(left.pop())
        if maker is not None and maker.op_type.endswith("LayerNormalization"):
            normalized = True
        elif maker is not None and maker.output[0] not in head:
            head.add(maker.output[0])
            left += maker.input
    return [node for node in graph.node if node.output[0] in head] if normalized else []


def _replace(repeated: Any, values: Iterable[Any]) -> None:  # noqa: ANN401 - protobuf's fields have no common type
    kept = list(values)
    del repeated[:]
    repeated.extend(kept)
