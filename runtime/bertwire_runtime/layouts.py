"""Layouts: conversion of a batch's texts to a graph's inputs, shared by export and server; needs only numpy.

padded: `input_ids`, `attention_mask`, `token_type_ids`, each int64 [texts, longest], padded on the right.

packed: the texts are concatenated, so that layers that work per token compute no padding. For attention, the texts are
dealt by length into groups, each padded to its own longest.

    input_ids, position_ids, token_type_ids   int64 [tokens]
    first_tokens                              int64 [texts], offset of each text
    group_N_tokens                            int64 [texts of N, longest of N], token index per slot; any for padding
    group_N_mask                              int32 [texts of N, longest of N], 1 where a slot holds a token
    group_N_texts                             int64 [texts of N], text indices
    restore_tokens                            int64 [tokens], each token's slot in the concatenated groups
    restore_texts                             int64 [texts], each text's row in the concatenated groups

With 0 groups the packed layout is the input of ONNX Runtime's packed attention on CUDA, which separates the texts
itself:

    cumulative_lengths                        int32 [texts + 1], offset of each text, and the number of tokens
    token_offset                              int32 [texts, longest], flat indices of all tokens in the padded layout,
                                              then those of its padding
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

# Attention costs n * n + _TOKEN_COST * n per text of n tokens plus _GROUP_COST per group: gathering queries, keys and
# values, and launching operators. Estimated from ONNX Runtime's CPU times at hidden size 384.
_TOKEN_COST, _GROUP_COST = 20.0, 300.0
# Candidate group boundaries; more cost more than they save.
_MAX_CUTS = 64


class Tokens(Protocol):
    """One tokenized text: token and segment ids with special tokens, without padding."""

    @property
    def ids(self) -> Sequence[int]: ...  # noqa: D102

    @property
    def type_ids(self) -> Sequence[int]: ...  # noqa: D102


@dataclass(frozen=True, slots=True)
class Layout:
    """The layout of a batch.

    Attributes:
        groups: length groups of the packed layout; 0 for packed attention on CUDA.
        by_token: whether logits are per token instead of per text.
        skips_padding: whether positions of a packed graph count from 1 and are 0 for padding tokens, as RoBERTa's. A
            text can hold one: its tokenizer parses the word `<pad>` as such.
    """

    kind: Literal["padded", "packed"]
    groups: int
    pad_token_id: int
    by_token: bool
    skips_padding: bool = False

    def computed(self, texts: int, longest: int, tokens: int) -> int:
        """Return the tokens that the linear layers compute for `texts` texts of `tokens` tokens, `longest` the most."""
        return tokens if self.kind == "packed" else texts * longest

    def by_text(self, logits: NDArray[np.float32], lengths: Sequence[int]) -> list[NDArray[np.float32]]:
        """Split a graph's output by text: float32 [labels], or [tokens, labels] for logits per token."""
        if not self.by_token:
            return list(logits)
        if self.kind == "packed":
            return np.split(logits, np.cumsum(lengths)[:-1])
        return [each[:length] for each, length in zip(logits, lengths, strict=True)]


def variant_layout(manifest: Manifest, variant: Variant) -> Layout:
    """Return the layout of a published variant."""
    by_token = HEADS[manifest.task].by_token
    return Layout(variant.layout, variant.groups, manifest.pad_token_id, by_token, variant.skips_padding)


def arrange(texts: Sequence[Tokens], layout: Layout) -> Arrays:
    """Return the graph's inputs for at least one text, each with at least one token.

    Raises:
        ValueError: a text has no token; in a packed batch it would get the next text's logits.
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
    """Return the padded layout of at least one text."""
    lengths = np.array([len(text.ids) for text in texts])
    mask = np.arange(lengths.max()) < lengths[:, None]
    ids = np.full(mask.shape, pad_token_id, dtype=np.int64)
    types = np.zeros(mask.shape, dtype=np.int64)
    # Assignment by a boolean mask goes row by row, the order of the concatenated texts.
    ids[mask], types[mask] = _end_to_end(texts)
    return {"input_ids": ids, "attention_mask": mask.astype(np.int64), "token_type_ids": types}


def packed(texts: Sequence[Tokens], groups: int) -> Arrays:
    """Return the packed layout of at least one text in `groups` groups, some of them possibly empty, or in none."""
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
    """Deal texts into groups of similar length at the least attention cost, by dynamic programming."""
    order = np.argsort(lengths, kind="stable")
    places = np.unique(np.linspace(0, len(order), min(len(order), _MAX_CUTS) + 1).astype(np.int64))
    longest = lengths[order[places[1:] - 1]].astype(np.float64)
    text_cost = np.concatenate([[0.0], longest * (longest + _TOKEN_COST)])
    counts = places[None, :] - places[:, None]
    # cost[i, j]: one group of the texts between boundaries i and j.
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
