"""Measure the activation ranges of a packed graph."""

from collections.abc import Iterable

from bertwire_export.int8 import Range, value_ranges
from bertwire_export.packed.build import build_packed
from bertwire_export.packed.linear import ProbedLinears
from bertwire_export.packed.weights import Encoder
from bertwire_runtime.layouts import Arrays


def measure_ranges(encoder: Encoder, groups: int, batches: Iterable[Arrays]) -> dict[str, Range]:
    """Return the activation range of every linear layer's input over batches of real texts, by the layer's name.

    Args:
        encoder: the weights.
        groups: length groups of the batches.
        batches: packed batches.
    """
    linears = ProbedLinears()
    model = build_packed(encoder, linears, groups)
    ranges = value_ranges(model, list(dict.fromkeys(linears.values.values())), batches)
    return {layer: ranges[value] for layer, value in linears.values.items()}
