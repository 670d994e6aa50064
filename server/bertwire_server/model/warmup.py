"""What a model runs before it takes traffic: a batch of each kind, which also shows how fast it is."""

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

# The shortest text that a model reads: two special tokens and one more.
_SHORTEST_TOKENS = 3
# Tokens of a usual text, and texts of the batch that the pace is first learned from.
_USUAL_TOKENS, _USUAL_TEXTS = 32, 8
# Runs of that batch. Halved, one that other work disturbed is more likely to decide how large batches may become.
_RUNS = 6
# How much larger a batch may become while serving than the first runs say. Halved, a batch that was disturbed at
# warm-up keeps batches small; doubled, warm-up takes twice as long and ONNX Runtime keeps twice the memory.
_HEADROOM = 2


@dataclass(frozen=True, slots=True)
class BatchLimits:
    """What a batch may hold.

    Attributes:
        texts: most texts.
        tokens: most tokens that it computes; one longer text runs alone.
        seconds: how long it should run at most, unless the server is told otherwise.
    """

    texts: int
    tokens: int
    seconds: float

    @staticmethod
    def of(provider: Provider) -> "BatchLimits":
        """Return the limits on a provider: a GPU needs some ten thousand tokens to be busy, a core some hundred."""
        return BatchLimits(1024, 32768, 0.010) if provider == "cuda" else BatchLimits(64, 4096, 0.040)


def warm_up(predictor: Predictor, pace: Pace, limits: BatchLimits) -> BatchLimits:
    """Run a batch of each kind at its largest; ONNX Runtime keeps the memory that it takes, so serving takes no more.

    Args:
        predictor: what is run.
        pace: learns from the runs.
        limits: what a batch may hold.

    Returns:
        what a batch may hold from now on: at most what was run.

    Raises:
        BundleError: the graph does not fit the manifest or the tokenizer; it would fail on requests too.
    """
    longest = predictor.manifest.max_length
    _try(predictor, [_SHORTEST_TOKENS])  # a bundle that cannot answer at all is refused soon
    _learn(predictor, pace, longest)
    limits = replace(limits, tokens=min(limits.tokens, _HEADROOM * pace.batch_tokens))
    pace.most_tokens = limits.tokens
    for lengths in warm_up_shapes(limits, longest):
        _try(predictor, lengths)
    _require_fitting_tokenizer(predictor)
    return limits


def warm_up_shapes(limits: BatchLimits, max_length: int) -> list[list[int]]:
    """Return the batches to run, each the token counts of its texts.

    One short text, as an idle server gets it; one text of the greatest length; a short and a long text, where a padded
    graph has the most filler and a packed one its groups apart; as many short texts as the limits allow, the most rows;
    a length of every size, as mixed traffic has them; as many of the greatest length as the limits allow, the most
    tokens. Batches that come out alike come once.
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
    """Time a batch of usual texts; the fastest of several runs counts, since others of the machine disturb the rest."""
    lengths = [min(_USUAL_TOKENS, longest)] * _USUAL_TEXTS
    seconds = inf
    for _ in range(_RUNS):
        start = perf_counter()
        _try(predictor, lengths)
        seconds = min(seconds, perf_counter() - start)
    pace.add(predictor.engine.layout.computed(len(lengths), lengths[0], sum(lengths)), seconds)


def _try(predictor: Predictor, lengths: Sequence[int]) -> None:
    """Run texts of so many tokens each; raise `BundleError` where that fails."""
    texts = [Encoded([predictor.last_id] * length, [0] * length, truncated=False) for length in lengths]
    try:
        logits = predictor.logits(texts)
    except Exception as error:  # onnxruntime's exceptions share no public base
        reason = first_line(error)
        raise BundleError(f"the bundle's graph fails on texts of {lengths[-1]} tokens: {reason}") from error
    labels = len(predictor.manifest.labels)
    expected = [(length, labels) if predictor.head.by_token else (labels,) for length in lengths]
    if (found := [each.shape for each in logits]) != expected:
        raise BundleError(
            f"the bundle's graph gives {len(found)} texts logits of the shape {found[0]}, not {len(expected)} "
            f"of {expected[0]}; export it again"
        )
    if not all(np.isfinite(each).all() for each in logits):
        raise BundleError("the bundle's graph gives logits that are no finite numbers; export it again")


def _require_fitting_tokenizer(predictor: Predictor) -> None:
    """Run what the tokenizer makes of a short and of a too long text."""
    longest = predictor.manifest.max_length
    words = ["a", "a " * (2 * longest)]
    try:
        texts = predictor.encode([(word, word) for word in words] if predictor.manifest.text_pairs else words)
        fits = all(1 <= len(text.ids) <= longest for text in texts)
        logits = predictor.logits(texts) if fits else []
    except Exception as error:  # tokenizers and onnxruntime raise exceptions without a public base
        raise BundleError(f"the bundle's tokenizer and graph do not fit: {first_line(error)}") from error
    if not logits:
        raise BundleError("the bundle's tokenizer gives texts no tokens, or more than the model reads; export it again")
