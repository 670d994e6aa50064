"""Warm-up: batches that allocate memory and measure the pace before a model serves requests."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import inf
from time import perf_counter

import numpy as np

from bertwire_core.errors import first_line
from bertwire_runtime.bundle import BundleError, Provider
from bertwire_runtime.predictor import Predictor
from bertwire_runtime.tokenizer import Encoded
from bertwire_server.model.pace import Pace

# Tokens of the shortest text: two special tokens and one other.
_SHORTEST_TOKENS = 3
# Tokens per text and texts of the batch that measures the initial pace.
_TYPICAL_TOKENS, _TYPICAL_TEXTS = 32, 8
# Runs of that batch. Halved, a run disturbed by other load is more likely to set the batch size.
_RUNS = 6
# Growth of a batch's tokens allowed over the initial pace. Halved, a disturbed warm-up keeps batches small; doubled,
# warm-up takes twice as long and ONNX Runtime keeps twice the memory.
_HEADROOM = 2


@dataclass(frozen=True, slots=True)
class BatchLimits:
    """Limits of a batch.

    Attributes:
        tokens: most computed tokens; a longer text runs alone.
        seconds: longest run, unless configured.
    """

    texts: int
    tokens: int
    seconds: float

    @staticmethod
    def of(provider: Provider) -> "BatchLimits":
        """Return a provider's limits: a GPU needs tens of thousands of tokens to be busy, a core some hundred."""
        return BatchLimits(1024, 32768, 0.010) if provider == "cuda" else BatchLimits(64, 4096, 0.040)


def warm_up(predictor: Predictor, pace: Pace, limits: BatchLimits) -> BatchLimits:
    """Run batches of every shape at the limits; ONNX Runtime keeps their memory, so that serving needs no more.

    Args:
        predictor: the predictor to run.
        pace: learns from the runs.
        limits: limits of a batch.

    Returns:
        the limits to serve with, at most those that were run.

    Raises:
        BundleError: the graph does not fit the manifest or the tokenizer.
    """
    longest = predictor.manifest.max_length
    _try(predictor, [_SHORTEST_TOKENS])  # fails early for a broken bundle
    _learn(predictor, pace, longest)
    limits = replace(limits, tokens=min(limits.tokens, _HEADROOM * pace.batch_tokens))
    pace.most_tokens = limits.tokens
    for lengths in warm_up_shapes(limits, longest):
        _try(predictor, lengths)
    _require_fitting_tokenizer(predictor)
    return limits


def warm_up_shapes(limits: BatchLimits, max_length: int) -> list[list[int]]:
    """Return the batches to run, each as the token counts of its texts, without duplicates.

    A short text; a longest text; both together, with the most padding; the most short texts; mixed lengths; the most
    longest texts, with the most tokens.
    """

    def filled(length: int) -> list[int]:
        return [length] * max(1, min(limits.texts, limits.tokens // length))

    largest = filled(max_length)
    steps = max(1, len(largest) - 1)
    mixed = [_SHORTEST_TOKENS + (max_length - _SHORTEST_TOKENS) * step // steps for step in range(len(largest))]
    shapes = [[_SHORTEST_TOKENS], [max_length], filled(_SHORTEST_TOKENS), mixed, largest]
    if limits.texts > 1 and 2 * max_length <= limits.tokens:
        shapes.append([_SHORTEST_TOKENS, max_length])
    return [shape for place, shape in enumerate(shapes) if shape not in shapes[:place]]


def _learn(predictor: Predictor, pace: Pace, longest: int) -> None:
    """Measure the pace with the fastest of several runs, which other load disturbed least."""
    lengths = [min(_TYPICAL_TOKENS, longest)] * _TYPICAL_TEXTS
    seconds = inf
    for _ in range(_RUNS):
        start = perf_counter()
        _try(predictor, lengths)
        seconds = min(seconds, perf_counter() - start)
    pace.add(predictor.engine.layout.computed(len(lengths), lengths[0], sum(lengths)), seconds)


def _try(predictor: Predictor, lengths: Sequence[int]) -> None:
    """Run texts with these token counts; raise `BundleError` where that fails."""
    texts = [Encoded([predictor.last_id] * length, [0] * length, truncated=False) for length in lengths]
    try:
        logits = predictor.logits(texts)
    except Exception as error:  # onnxruntime's exceptions share no public base
        reason = first_line(error)
        raise BundleError(f"the bundle's graph fails on texts of {lengths[-1]} tokens: {reason}") from error
    width = predictor.manifest.width
    expected = [(length, width) if predictor.head.by_token else (width,) for length in lengths]
    if (found := [each.shape for each in logits]) != expected:
        raise BundleError(
            f"the bundle's graph gives {len(found)} texts logits of the shape {found[0]}, not {len(expected)} "
            f"of {expected[0]}; export it again"
        )
    if not all(np.isfinite(each).all() for each in logits):
        raise BundleError("the bundle's graph gives logits that are no finite numbers; export it again")


def _require_fitting_tokenizer(predictor: Predictor) -> None:
    """Run a short and an overlong text through tokenizer and graph; raise `BundleError` where that fails."""
    longest = predictor.manifest.max_length
    words = ["a", "a " * (2 * longest)]
    try:
        texts = predictor.encode([(word, word) for word in words] if predictor.manifest.text_pairs else words)
        chunks = [chunk for text in texts for chunk in text.chunks()]
        fits = all(1 <= len(chunk.ids) <= longest for chunk in chunks)
        logits = predictor.logits(chunks[: len(words)]) if fits else []
    except Exception as error:  # tokenizers and onnxruntime raise exceptions without a public base
        raise BundleError(f"the bundle's tokenizer and graph do not fit: {first_line(error)}") from error
    if not logits:
        raise BundleError("the bundle's tokenizer gives texts no tokens, or more than the model reads; export it again")
