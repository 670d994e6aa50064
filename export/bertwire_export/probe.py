"""Make the probe of a bundle: sequences, each variant's logits for them, and tolerances for other processors.

docs/decisions/022-probe.md has the reasons and the measurements.
"""

from collections.abc import Iterator, Sequence
from itertools import chain

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import numpy_helper
from tokenizers import Encoding, Tokenizer

from bertwire_export.apart import run_apart
from bertwire_export.candidates import Built
from bertwire_export.config import Precision
from bertwire_runtime.bundle import Provider
from bertwire_runtime.probe import Expected, Floats, Probe, TokenSequence, answers, deviations
from bertwire_runtime.runner import Runner

_SEED = 22
_SEQUENCES = 64
# Sequences tried of each length, of which the one whose logits depend least on rounding is kept. With half as many the
# least of fewer is kept, and its tolerance is larger on average.
_CHOICES = 4
# Tokens to which longer texts are cut, so that the probe takes little of a warm-up: linear layers see no length. Half
# of them are cut to the shorter limit: the fewer activations, the fewer that rounding moves over a step of int8.
_LONGEST, _SHORT = 128, 8
# Graphs with other rounding, in place of other processors; tolerances come from the largest deviation among them.
_ROUNDINGS = 3
# Ratio by which another processor may differ more than those.
_MARGIN = 4.0
# Least tolerance, in logits: some steps of float32 at 1, for graphs so small that rounding hardly shows.
_LEAST_TOLERANCE = 1e-6


def make_probe(
    built: Sequence[tuple[Built, Sequence[Provider]]], encodings: Sequence[Encoding], tokenizer: Tokenizer
) -> Probe:
    """Draw sequences and run every variant on them.

    Args:
        built: the variants, each with the providers that it is published for.
        encodings: tokenized dev texts; of them only lengths, segments and the places of special tokens are used.
        tokenizer: the tokenizer, from whose vocabulary the sequences are drawn.
    """
    drawn = list(draw(encodings, tokenizer))
    # In fp32 rounding changes the logits of every sequence alike, in int8 those of some much and of others not at all.
    stepped = {
        each.name: _moved_by_rounding(each, "cpu", drawn)[1]
        for each, _ in built
        if each.precision is Precision.INT8  # which is for the CPU alone
    }
    calmest = np.max([np.zeros(len(drawn)), *stepped.values()], axis=0).reshape(-1, _CHOICES).argmin(axis=1)
    places = _CHOICES * np.arange(len(calmest)) + calmest
    sequences = tuple(drawn[place] for place in places)
    moved = {name: each[places] for name, each in stepped.items()}
    found = [
        run_apart(_expected, each, at, sequences)
        if at == "cuda"
        else _expected(each, at, sequences, moved.get(each.name))
        for each, providers in built
        for at in providers
    ]
    return Probe(sequences=sequences, expected=tuple(found))


def draw(encodings: Sequence[Encoding], tokenizer: Tokenizer) -> Iterator[TokenSequence]:
    """Yield random sequences by a fixed seed, four of each of 64 lengths.

    Half of the lengths are spread as those of the texts, the others are as these but for 8 tokens at most.
    """
    generator = np.random.default_rng(_SEED)
    added = tokenizer.get_added_tokens_decoder()
    vocabulary = sorted(tokenizer.get_vocab().values())
    words = [each for each in vocabulary if each not in added] or vocabulary
    by_length = sorted(encodings, key=lambda each: len(each.ids))
    texts = [by_length[place] for place in np.linspace(0, len(by_length) - 1, _SEQUENCES // 2).astype(int)]
    for longest in (_SHORT, _LONGEST):
        for text in texts:
            for _ in range(_CHOICES):
                yield _like(text, longest, words, generator)


def _like(encoding: Encoding, longest: int, words: Sequence[int], generator: np.random.Generator) -> TokenSequence:
    """Return a text's special tokens with random words between them; of a long text as many as fit."""
    special = np.array(encoding.special_tokens_mask, bool)
    kept = np.flatnonzero(special | (np.cumsum(~special) <= longest - special.sum()))
    drawn = generator.choice(words, len(encoding.ids))
    ids = np.where(special, encoding.ids, drawn)[kept]
    return TokenSequence(ids=tuple(ids.tolist()), type_ids=tuple(np.array(encoding.type_ids)[kept].tolist()))


def _expected(
    built: Built,
    provider: Provider,
    sequences: Sequence[TokenSequence],
    moved: NDArray[np.float64] | None = None,
) -> Expected:
    """Return the variant's logits, and the tolerances for other processors; `moved` where it was measured already."""
    if moved is None:
        exact, moved = _moved_by_rounding(built, provider, sequences)
    else:
        exact = next(_answers(built, provider, sequences))
    tolerances = np.maximum(_MARGIN * moved, _LEAST_TOLERANCE)
    logits = tuple(tuple(each.tolist()) for each in exact)
    return Expected(variant=built.name, provider=provider, tolerances=tuple(tolerances.tolist()), logits=logits)


def _moved_by_rounding(
    built: Built, provider: Provider, sequences: Sequence[TokenSequence]
) -> tuple[list[Floats], NDArray[np.float64]]:
    """Return the variant's logits, and the largest deviation of each sequence by rounding."""
    exact, *others = _answers(built, provider, sequences)
    moved: NDArray[np.float64] = np.max([deviations(each, exact) for each in others], axis=0)
    return exact, moved


def _answers(built: Built, provider: Provider, sequences: Sequence[TokenSequence]) -> Iterator[list[Floats]]:
    """Yield the logits of a graph, then of the same graph rounded otherwise; one session at a time."""
    graph = built.path.read_bytes()
    for each in chain([graph], (rounded(graph, seed) for seed in range(_ROUNDINGS))):
        yield answers(sequences, Runner(each, built.layout, provider, threads=0).by_text)


def rounded(graph: bytes, seed: int) -> bytes:
    """Return a graph with each weight moved by one step of its number format, up, down or not at all, at random.

    Sums then come out as on a processor that rounds otherwise or adds in another order. Integers and single numbers,
    such as exponents, stay as they are.
    """
    generator = np.random.default_rng(seed)
    model = onnx.ModelProto.FromString(graph)
    for tensor in model.graph.initializer:
        values = numpy_helper.to_array(tensor)
        if values.dtype in (np.float16, np.float32) and values.size > 1:
            tensor.CopyFrom(numpy_helper.from_array(_moved(values, generator), tensor.name))
    return model.SerializeToString()


def _moved(values: NDArray[np.floating], generator: np.random.Generator) -> NDArray[np.floating]:
    bits = values.view({2: np.int16, 4: np.int32}[values.itemsize])
    moved = (bits + generator.integers(-1, 2, values.shape, np.int8)).view(values.dtype)
    return np.where((values == 0) | ~np.isfinite(moved), values, moved)
