"""The linear layers of a packed graph, in fp32 and in int8."""

from typing import Protocol

import numpy as np

from bertwire_export.int8 import Range, quantize_weight
from bertwire_export.packed.graph import CONTRIB, Graph
from bertwire_export.packed.weights import Floats, Linear


class Linears(Protocol):
    """The interface that adds a linear layer to a graph: float32 [tokens, in] to float32 [tokens, out]."""

    def __call__(self, graph: Graph, value: str, layer: Linear, name: str, *, bias: bool = True) -> str:
        """Add the layer under a name that is the same in every graph of the model, with its bias or without."""


class Fp32Linears:
    """Linear layers in fp32."""

    def __call__(self, graph: Graph, value: str, layer: Linear, name: str, *, bias: bool = True) -> str:
        """Add MatMul and Add, which the session makes one Gemm."""
        product = graph.add("MatMul", value, graph.constant(layer.weight.T, f"{name}.weight"))
        return graph.add("Add", product, graph.constant(layer.bias, f"{name}.bias")) if bias else product


class ProbedLinears(Fp32Linears):
    """Linear layers in fp32 whose input values are recorded.

    Attributes:
        values: the name of each layer's input value, by the layer's name.
    """

    def __init__(self) -> None:
        self.values: dict[str, str] = {}

    def __call__(self, graph: Graph, value: str, layer: Linear, name: str, *, bias: bool = True) -> str:
        """Add the layer as in fp32, and record its input."""
        self.values[name] = value
        return super().__call__(graph, value, layer, name, bias=bias)


class Int8Linears:
    """Linear layers whose activations are uint8 on a fixed scale and whose weights are int8 on one scale a column.

    The scale of the activations was measured beforehand. One taken from the batch at hand, as dynamic quantization
    does, makes every answer depend on the other texts of the batch. Wide channels are narrowed first
    (`Range.smoothing`): less error for a little more time.
    """

    def __init__(self, ranges: dict[str, Range]) -> None:
        """Take the activation ranges of each layer's input, by the layer's name."""
        self._ranges = ranges
        self._quantized: dict[str, tuple[str, str, str]] = {}

    def __call__(self, graph: Graph, value: str, layer: Linear, name: str, *, bias: bool = True) -> str:
        """Add QuantizeLinear, shared by layers that read the same value, and an integer product."""
        values = self._ranges[name]
        factors = values.smoothing()
        numbers, scale, zero = self._quantize(graph, value, values, factors)
        weight, weight_scale = quantize_weight((layer.weight * factors).T)
        inputs = [
            numbers,
            graph.constant(weight, f"{name}.weight"),
            scale,
            graph.constant(weight_scale, f"{name}.weight_scale"),
            zero,
            graph.constant(np.zeros_like(weight_scale, np.int8), f"{name}.weight_zero"),
        ]
        if bias:
            inputs.append(graph.constant(layer.bias, f"{name}.bias"))
        return graph.add("MatMulIntegerToFloat", *inputs, domain=CONTRIB)

    def _quantize(self, graph: Graph, value: str, values: Range, factors: Floats) -> tuple[str, str, str]:
        if value not in self._quantized:
            scale, zero = values.divided(factors).scale_and_zero()
            source = graph.add("Mul", value, graph.constant(1 / factors, "smoothing"))
            constants = graph.constant(scale, "scale"), graph.constant(zero, "zero")
            self._quantized[value] = graph.add("QuantizeLinear", source, *constants), *constants
        return self._quantized[value]
