"""Build ONNX graphs node by node."""

from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

# LayerNormalization and Split with num_outputs came with 17 and 18; every ONNX Runtime that we allow has both.
_OPSET = 18
_IR_VERSION = 8
CONTRIB = "com.microsoft"

Shape = list[str | int]


class Graph:
    """A graph that is being built. Names of its values hold a dot, so that none clashes with an input's."""

    def __init__(self) -> None:
        self._nodes: list[onnx.NodeProto] = []
        self._constants: list[onnx.TensorProto] = []
        self._inputs: dict[str, onnx.ValueInfoProto] = {}
        self._count = 0

    def input(self, name: str, kind: int, shape: Shape) -> str:
        """Add an input of the graph, once by each name, and return its name."""
        self._inputs.setdefault(name, helper.make_tensor_value_info(name, kind, shape))
        return name

    def constant(self, values: NDArray[np.generic] | np.generic, name: str = "constant") -> str:
        """Add a constant tensor and return its name."""
        name = self._name(name)
        self._constants.append(numpy_helper.from_array(np.ascontiguousarray(values).reshape(np.shape(values)), name))
        return name

    def add(self, operator: str, *inputs: str, domain: str = "", **attributes: Any) -> str:  # noqa: ANN401 - ONNX's
        """Add a node and return the name of its one output; an empty input name leaves an optional input out."""
        output = self._name(operator)
        self._nodes.append(helper.make_node(operator, inputs, [output], name=output, domain=domain, **attributes))
        return output

    def model(self, values: dict[str, tuple[str, Shape]]) -> onnx.ModelProto:
        """Return the finished model; of each of its outputs, by name, the value and its shape."""
        self._nodes += [helper.make_node("Identity", [value], [name]) for name, (value, _) in values.items()]
        outputs = [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, (_, shape) in values.items()]
        graph = helper.make_graph(self._nodes, "packed", list(self._inputs.values()), outputs, self._constants)
        opsets = [helper.make_opsetid("", _OPSET), helper.make_opsetid(CONTRIB, 1)]
        return helper.make_model(graph, opset_imports=opsets, ir_version=_IR_VERSION, producer_name="bertwire")

    def _name(self, base: str) -> str:
        self._count += 1
        return f"{base}.{self._count}"
