"""What int8 means here: uint8 activations on one fixed scale, int8 weights on one scale a column."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray
from onnx import TensorProto, helper

from bertwire_export.bundle.layouts import Arrays

Floats = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Range:
    """Least and greatest value that went into a layer; 0 lies within."""

    low: float
    high: float

    def scale_and_zero(self) -> tuple[np.float32, np.uint8]:
        """Step and zero point of uint8 numbers that cover the range: value = scale * (number - zero)."""
        scale = max((self.high - self.low) / 255, float(np.finfo(np.float32).tiny))
        return np.float32(scale), np.uint8(np.clip(round(-self.low / scale), 0, 255))


def quantize_weight(weight: Floats) -> tuple[NDArray[np.int8], Floats]:
    """A weight float32 [in, out] as int8 [in, out] with a scale float32 [out]: weight = scale * number."""
    scale = np.maximum(np.abs(weight).max(axis=0) / 127, np.finfo(np.float32).tiny).astype(np.float32)
    return np.rint(weight / scale).astype(np.int8), scale


def value_ranges(model: onnx.ModelProto, values: list[str], batches: Iterable[Arrays]) -> dict[str, Range]:
    """Runs an fp32 model over batches and finds the range of each of its values named in `values`."""
    probed = onnx.ModelProto()
    probed.CopyFrom(model)
    probed.graph.output.extend(helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in values)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(probed.SerializeToString(), options, providers=["CPUExecutionProvider"])
    names = [each.name for each in session.get_inputs()]
    low, high = dict.fromkeys(values, 0.0), dict.fromkeys(values, 0.0)
    for batch in batches:
        found = session.run(values, {name: batch[name] for name in names})
        for name, numbers in zip(values, found, strict=True):
            low[name], high[name] = min(low[name], float(numbers.min())), max(high[name], float(numbers.max()))
    return {name: Range(low[name], high[name]) for name in values}
