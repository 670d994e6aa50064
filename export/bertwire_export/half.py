"""fp32 graphs to fp16."""

import onnx
from onnxruntime.transformers.float16 import convert_float_to_float16


def to_half(model: onnx.ModelProto) -> onnx.ModelProto:
    """The graph with weights and arithmetic in fp16; inputs and logits keep their types."""
    half: onnx.ModelProto = convert_float_to_float16(model, keep_io_types=True, disable_shape_infer=True)
    return half
