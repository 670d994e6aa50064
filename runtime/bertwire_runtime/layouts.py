"""How the texts of a batch become a graph's inputs. Export measures with it what the server runs; numpy only.

padded: `input_ids`, `attention_mask`, `token_type_ids`, each int64 [texts, longest], filled up on the right.

packed: the texts lie end to end, so that whatever works on single tokens computes no padding. Attention needs the
tokens of a text side by side; for it alone the texts are dealt by length into groups, each padded to its own longest.

    input_ids, position_ids, token_type_ids   int64 [tokens]
    first_tokens                              int64 [texts], where each text begins
    group_N_tokens                            int64 [texts of N, longest of N], for each slot its token; filler: any
    group_N_mask                              int32 [texts of N, longest of N], 1 where a slot holds a token
    group_N_texts                             int64 [texts of N], which texts they are
    restore_tokens                            int64 [tokens], each token's slot in the groups laid end to end
    restore_texts                             int64 [texts], each text's row in the groups laid end to end

With no groups the packed layout is what ONNX Runtime's packed attention on CUDA reads, which finds the texts itself:

    cumulative_lengths                        int32 [texts + 1], where each text begins, and the number of tokens
    token_offset                              int32 [texts, longest], the places of all tokens in the padded layout in
                                              order, then those of its filler
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from bertwire_runtime.bundle.manifest import Manifest, Variant
from bertwire_runtime.heads import HEADS

Arrays = dict[str, NDArray[Any]]
Ints = NDArray[np.int64]

# What attention costs for a text of n tokens, in units of n * n: per token the gathering of queries, keys and values,
# per group the starting of its operators. Estimated from ONNX Runtime's times on a CPU at hidden size 384.
_TOKEN_COST, _GROUP_COST = 20.0, 300.0
# More places to cut between groups than these do not pay for finding them.
_MAX_CUTS = 64


class Tokens(Protocol):
    """One tokenized text: ids and segments, special tokens included, no filler."""

    @property
    def ids(self) -> Sequence[int]: ...  # noqa: D102

    @property
    def type_ids(self) -> Sequence[int]: ...  # noqa: D102


@dataclass(frozen=True, slots=True)
class Layout:
    """How the texts of a batch are laid out.

    Attributes:
        kind: padded or packed.
        groups: length groups of the packed layout; 0 where attention finds the texts itself, as on CUDA.
        pad_token_id: what fills the padded layout.
        by_token: whether every token has logits, else every text.
        skips_padding: whether a packed graph's positions count from 1 and leave padding tokens out, which have 0, as
            RoBERTa's do. A text can hold one: its tokenizer reads the word `<pad>` as such.
    """

    kind: Literal["padded", "packed"]
    groups: int
    pad_token_id: int
    by_token: bool
    skips_padding: bool = False

    def computed(self, texts: int, longest: int, tokens: int) -> int:
        """Tokens that the linear layers compute for a batch: of so many texts, the longest so long, tokens in all."""
        return tokens if self.kind == "packed" else texts * longest

    def by_text(self, logits: NDArray[np.float32], lengths: Sequence[int]) -> list[NDArray[np.float32]]:
        """Parts a graph's output by text: float32 [labels], or [tokens, labels] where every token has logits."""
        if not self.by_token:
            return list(logits)
        if self.kind == "packed":
            return np.split(logits, np.cumsum(lengths)[:-1])
        return [each[:length] for each, length in zip(logits, lengths, strict=True)]


def variant_layout(manifest: Manifest, variant: Variant) -> Layout:
    """How a published variant reads its texts."""
    by_token = HEADS[manifest.task].by_token
    return Layout(variant.layout, variant.groups, manifest.pad_token_id, by_token, variant.skips_padding)


def arrange(texts: Sequence[Tokens], layout: Layout) -> Arrays:
    """The inputs of a graph for at least one text, each of at least one token, in its layout.

    Raises:
        ValueError: a text has no token; in a packed batch it would be answered with the next one's logits.
    """
    if not all(text.ids for text in texts):
        raise ValueError("a text without tokens cannot be laid out")
    if layout.kind == "padded":
        return padded(texts, layout.pad_token_id)
    arrays = packed(texts, layout.groups)
    if layout.skips_padding:
        arrays["position_ids"] = _positions_of_words(arrays, layout.pad_token_id)
    return arrays


def _positions_of_words(arrays: Arrays, pad_token_id: int) -> Ints:
    words = arrays["input_ids"] != pad_token_id
    counts = np.cumsum(words)
    starts = arrays["first_tokens"]
    before = np.repeat(counts[starts] - words[starts], np.diff(np.append(starts, len(words))))
    positions: Ints = (counts - before) * words
    return positions


def padded(texts: Sequence[Tokens], pad_token_id: int) -> Arrays:
    """The padded layout of at least one text."""
    lengths = np.array([len(text.ids) for text in texts])
    mask = np.arange(lengths.max()) < lengths[:, None]
    ids = np.full(mask.shape, pad_token_id, dtype=np.int64)
    types = np.zeros(mask.shape, dtype=np.int64)
    # A boolean mask is filled row by row, which is the order of the texts laid end to end.
    ids[mask], types[mask] = _end_to_end(texts)
    return {"input_ids": ids, "attention_mask": mask.astype(np.int64), "token_type_ids": types}


def packed(texts: Sequence[Tokens], groups: int) -> Arrays:
    """The packed layout of at least one text, dealt into `groups` groups, of which some may be empty, or into none."""
    lengths = np.array([len(text.ids) for text in texts])
    starts = np.cumsum(lengths) - lengths
    ids, types = _end_to_end(texts)
    arrays: Arrays = {
        "input_ids": ids,
        "token_type_ids": types,
        "position_ids": np.arange(len(ids)) - np.repeat(starts, lengths),
        "first_tokens": starts,
    }
    if groups == 0:
        mask = np.arange(lengths.max()) < lengths[:, None]
        places = np.concatenate([np.flatnonzero(mask), np.flatnonzero(~mask)])
        arrays["token_offset"] = places.astype(np.int32).reshape(mask.shape)
        arrays["cumulative_lengths"] = np.append(starts, len(ids)).astype(np.int32)
        return arrays
    arrays["restore_tokens"] = np.empty(len(ids), np.int64)
    arrays["restore_texts"] = np.empty(len(texts), np.int64)
    slots = rows = 0
    for number, members in enumerate(_deal(lengths, groups)):
        mask = np.arange(lengths[members].max(initial=0)) < lengths[members][:, None]
        tokens = np.where(mask, starts[members][:, None] + np.arange(mask.shape[1]), 0)
        arrays[f"group_{number}_tokens"] = tokens
        arrays[f"group_{number}_mask"] = mask.astype(np.int32)
        arrays[f"group_{number}_texts"] = members
        arrays["restore_tokens"][tokens[mask]] = slots + np.flatnonzero(mask)
        arrays["restore_texts"][members] = rows + np.arange(len(members))
        slots, rows = slots + mask.size, rows + len(members)
    return arrays


def _end_to_end(texts: Sequence[Tokens]) -> tuple[Ints, Ints]:
    count = sum(len(text.ids) for text in texts)
    ids = np.fromiter((token for text in texts for token in text.ids), np.int64, count)
    return ids, np.fromiter((kind for text in texts for kind in text.type_ids), np.int64, count)


def _deal(lengths: Ints, groups: int) -> list[Ints]:
    """Deals texts into groups of similar length so that attention costs least, by dynamic programming."""
    order = np.argsort(lengths, kind="stable")
    places = np.unique(np.linspace(0, len(order), min(len(order), _MAX_CUTS) + 1).astype(np.int64))
    longest = lengths[order[places[1:] - 1]].astype(np.float64)
    text_cost = np.concatenate([[0.0], longest * (longest + _TOKEN_COST)])
    counts = places[None, :] - places[:, None]
    # cost[i, j]: one group of the texts from place i to place j.
    cost = np.where(counts > 0, counts * text_cost + _GROUP_COST, np.where(counts < 0, np.inf, 0.0))
    best, choices = cost[0], []
    for _ in range(groups - 1):
        total = best[:, None] + cost
        choices.append(total.argmin(axis=0))
        best = total.min(axis=0)
    ends = [len(places) - 1]
    for choice in reversed(choices):
        ends.append(int(choice[ends[-1]]))
    bounds = [0, *(int(places[end]) for end in reversed(ends))]
    return [order[start:end] for start, end in pairwise(bounds)]
