"""Pool the tokens of each text of a packed graph, in fp32, to the same last bit whatever the other texts.

Sums of floats depend on their order, and kernels order them by the length that a batch is padded to. So a mean sums
whole numbers in float64, which is exact in any order.
"""

import numpy as np
from onnx import TensorProto

from bertwire_core.pooling import Pooled
from bertwire_export.packed.graph import Graph

# Steps of a whole number in 1 of a vector's channel. Half as many move a mean by up to 6e-8 more, and fp32 logits with
# it; float64 holds the sum exactly up to a total of 2**29.
_STEPS = np.float32(2**24)
# The norm below which a vector is divided by this, as PyTorch does.
_LEAST_NORM = np.float32(1e-12)


def pooled(graph: Graph, tokens: str, how: Pooled, groups: int) -> str:
    """Add the mean or maximum over the tokens of each text: float32 [tokens, size] to [texts, size].

    Args:
        graph: the graph.
        tokens: the vectors of all tokens.
        how: mean or max.
        groups: length groups of the layout; 0 for a graph for CUDA.
    """
    if how == "mean":
        scaled = graph.add("Mul", tokens, graph.constant(_STEPS, "steps"))
        tokens = graph.add("Round", scaled)
    add = _mean if how == "mean" else _maximum
    if not groups:
        return add(graph, tokens, *_slots(graph))
    found = [add(graph, tokens, *_group(graph, number)) for number in range(groups)]
    together = graph.add("Concat", *found, axis=0) if groups > 1 else found[0]
    return graph.add("Gather", together, graph.input("restore_texts", TensorProto.INT64, ["texts"]))


def normalized(graph: Graph, vectors: str) -> str:
    """Add the division of each vector by its Euclidean norm, float32 [texts, size]."""
    norm = graph.add("ReduceL2", vectors, graph.constant(np.array([-1]), "axes"), keepdims=1)
    return graph.add("Div", vectors, graph.add("Max", norm, graph.constant(_LEAST_NORM, "least")))


def _group(graph: Graph, number: int) -> tuple[str, str]:
    """Return the places of the tokens of a group's texts, and whether each is one, [texts, longest] both."""
    shape: list[str | int] = [f"group_{number}_size", f"group_{number}_longest"]
    slots = graph.input(f"group_{number}_tokens", TensorProto.INT64, shape)
    mask = graph.input(f"group_{number}_mask", TensorProto.INT32, shape)
    return slots, graph.add("Cast", mask, to=TensorProto.BOOL)


def _slots(graph: Graph) -> tuple[str, str]:
    """Return the same for all texts at once, from the inputs of packed attention on CUDA."""

    def number(value: int) -> str:
        return graph.constant(np.array(value), "number")

    offsets = graph.input("token_offset", TensorProto.INT32, ["texts", "longest"])
    ends = graph.input("cumulative_lengths", TensorProto.INT32, ["texts_and_one"])
    longest = graph.add("Gather", graph.add("Shape", offsets), number(1))
    places = graph.add("Range", number(0), longest, number(1))
    bounds = graph.add("Unsqueeze", graph.add("Cast", ends, to=TensorProto.INT64), graph.constant(np.array([1])))
    limits = [graph.constant(np.array([each]), "limit") for each in (0, 1, -1, np.iinfo(np.int64).max)]
    starts, stops = graph.add("Slice", bounds, limits[0], limits[2]), graph.add("Slice", bounds, limits[1], limits[3])
    slots = graph.add("Add", starts, places)
    held = graph.add("Less", slots, stops)
    return graph.add("Where", held, slots, starts), held


def _mean(graph: Graph, tokens: str, slots: str, held: str) -> str:
    one = graph.constant(np.array([1]), "axes")
    weights = graph.add("Cast", held, to=TensorProto.DOUBLE)
    vectors = graph.add("Cast", graph.add("Gather", tokens, slots), to=TensorProto.DOUBLE)
    # [texts, 1, longest] by [texts, longest, size].
    total = graph.add("Squeeze", graph.add("MatMul", graph.add("Unsqueeze", weights, one), vectors), one)
    steps = graph.add("Mul", graph.add("ReduceSum", weights, one), graph.constant(np.float64(_STEPS), "steps"))
    return graph.add("Cast", graph.add("Div", total, steps), to=TensorProto.FLOAT)


def _maximum(graph: Graph, tokens: str, slots: str, held: str) -> str:
    counted = graph.add("Unsqueeze", held, graph.constant(np.array([2]), "axes"))
    least = graph.constant(np.finfo(np.float32).min, "least")
    vectors = graph.add("Where", counted, graph.add("Gather", tokens, slots), least)
    return graph.add("ReduceMax", vectors, graph.constant(np.array([1]), "axes"), keepdims=0)
