"""A model's output for one text."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Entity:
    """A span of a text: type, start and end in code points, and mean score of its words' tags."""

    label: str
    start: int
    end: int
    score: float


@dataclass(frozen=True)
class Output:
    """A model's output for one text.

    Attributes:
        logits: float32 [labels], or [tokens, labels] for token classification; empty for an embedding alone.
        scores: float32 of the same shape: softmax, sigmoids, or for regression the number itself.
        entities: for token classification the entities in text order, whatever their score; else empty.
        token_count: tokens after truncation, special tokens included.
        truncated: whether the text was cut.
        rules: names of the rules that matched the text, in file order; `scores` are with them, `logits` without.
        abstained: whether the text looks like none of the labels; then none is predicted.
        embedding: the vector of the text, float32 [dimensions]; None for models that give none.
    """

    logits: Floats
    scores: Floats
    entities: Sequence[Entity]
    token_count: int
    truncated: bool
    rules: tuple[str, ...] = ()
    abstained: bool = False
    embedding: Floats | None = None

    @cached_property
    def top(self) -> int:
        """Place of the highest score, of equal ones the first; for labels of whole texts."""
        return int(self.scores.argmax())


def best(scores: Floats, count: int | None) -> list[int]:
    """Return the indices of the `count` highest scores (None: all) of float32 [labels], best first, ties in order."""
    values = scores.tolist()
    if count == 1:
        return [values.index(max(values))]
    return sorted(range(len(values)), key=values.__getitem__, reverse=True)[:count]
