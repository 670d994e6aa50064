"""Quantize to int8: uint8 activations on one fixed scale, int8 weights on one scale a column."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper

from bertwire_runtime.layouts import Arrays
from bertwire_runtime.session import open_session

Floats = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Range:
    """The activation range of a layer's input over real texts: the least and the greatest value of each channel.

    Attributes:
        low, high: float32 [channels]; 0 lies within.
    """

    low: Floats
    high: Floats

    def scale_and_zero(self) -> tuple[np.float32, np.uint8]:
        """Return scale and zero point of uint8 numbers that cover all channels: value = scale * (number - zero)."""
        low, high = float(self.low.min()), float(self.high.max())
        scale = max((high - low) / 255, float(np.finfo(np.float32).tiny))
        return np.float32(scale), np.uint8(np.clip(round(-low / scale), 0, 255))

    def smoothing(self) -> Floats:
        """Return the divisor of each channel, float32 [channels], so that a few wide ones do not take all 255 steps.

        The weights are multiplied by the same. After SmoothQuant (Xiao et al., 2022), from the activations alone, so
        that layers that read the same value share it: the square root of a channel's largest value, over the mean.
        """
        widest = np.maximum(np.maximum(-self.low, self.high), np.finfo(np.float32).eps)
        roots: Floats = np.sqrt(widest) / np.exp(np.log(widest).mean() / 2)
        return roots.astype(np.float32)

    def divided(self, by: Floats) -> "Range":
        """Return the range of the channels divided by positive numbers."""
        return Range(self.low / by, self.high / by)


def quantize_weight(weight: Floats) -> tuple[NDArray[np.int8], Floats]:
    """Return a weight float32 [in, out] as int8 [in, out] with a scale float32 [out]: weight = scale * number.

    No product with uint8 saturates (`bertwire_runtime.bundle.saturation`): rows 0 and 1, 2 and 3 and so on sum to 127
    at most before they are rounded, and so to 128 after it.
    """
    sums = np.abs(weight[:-1:2] + weight[1::2])
    largest = np.maximum(np.abs(weight).max(axis=0), sums.max(axis=0, initial=0))
    scale = np.maximum(largest / 127, np.finfo(np.float32).tiny).astype(np.float32)
    return np.rint(weight / scale).astype(np.int8), scale


def value_ranges(model: onnx.ModelProto, values: list[str], batches: Iterable[Arrays]) -> dict[str, Range]:
    """Run an fp32 model over batches, and return the activation range of each of its values named in `values`."""
    probed = onnx.ModelProto()
    probed.CopyFrom(model)
    probed.graph.output.extend(helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in values)
    session = open_session(probed.SerializeToString(), "cpu", threads=0)
    names = [each.name for each in session.get_inputs()]
    low: dict[str, Floats] = {}
    high: dict[str, Floats] = {}
    for batch in batches:
        found = session.run(values, {name: batch[name] for name in names})
        for name, numbers in zip(values, found, strict=True):
            channels = numbers.reshape(-1, numbers.shape[-1])
            low[name] = np.minimum(low.get(name, 0), channels.min(axis=0))
            high[name] = np.maximum(high.get(name, 0), channels.max(axis=0))
    return {name: Range(low[name], high[name]) for name in values}
