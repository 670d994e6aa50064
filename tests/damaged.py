"""Graphs of a sealed bundle made wrong in one weight, and sealed again."""

from pathlib import Path

import numpy as np
import onnx
from onnx import numpy_helper

from support import rehash

_PRODUCTS = frozenset({"MatMul", "MatMulIntegerToFloat"})


def flip(folder: Path, file: str, seed: int) -> str:
    """Flips the sign, or in fp32 by turns the top bit of the exponent, of one weight of a linear layer; gives its name.

    The bundle is sealed again, as someone who knows the format would.
    """
    generator = np.random.default_rng(seed)
    model = onnx.load(folder / file)
    weights = {each.name: each for each in model.graph.initializer}
    linear = [weights[node.input[1]] for node in model.graph.node if node.op_type in _PRODUCTS]
    sizes = np.array([np.prod(each.dims) for each in linear])
    tensor = linear[generator.choice(len(linear), p=sizes / sizes.sum())]
    values = numpy_helper.to_array(tensor).copy()
    bits = values.view(np.uint8 if values.itemsize == 1 else np.uint32).reshape(-1)
    top = 8 * values.itemsize - 1
    bits[generator.integers(bits.size)] ^= 1 << (top - (seed % 2 if values.itemsize > 1 else 0))
    tensor.CopyFrom(numpy_helper.from_array(values, tensor.name))
    (folder / file).write_bytes(model.SerializeToString())
    rehash(folder)
    return tensor.name


def lose_positions(folder: Path, file: str, from_row: int) -> None:
    """Sets the embeddings of the positions from a row on to zero, and seals the bundle again."""
    model = onnx.load(folder / file)
    (gather,) = (node for node in model.graph.node if node.op_type == "Gather" and node.input[1] == "position_ids")
    (tensor,) = (each for each in model.graph.initializer if each.name == gather.input[0])
    values = numpy_helper.to_array(tensor).copy()
    values[from_row:] = 0
    tensor.CopyFrom(numpy_helper.from_array(values, tensor.name))
    (folder / file).write_bytes(model.SerializeToString())
    rehash(folder)
