"""The two layouts of a batch: every token once, everything put back in place, and little padding."""

from collections.abc import Sequence
from itertools import combinations_with_replacement, pairwise
from typing import Any, Literal

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from bertwire_runtime.layouts import Arrays, Layout, arrange, packed, padded
from graphs import Text, random_batch

LENGTHS = st.lists(st.integers(1, 600), min_size=1, max_size=200)
GROUPS = st.integers(1, 16)
# A batch of the largest lengths takes a while on a machine that does other things too.
PATIENT = settings(deadline=None, max_examples=60)


def groups_of(arrays: Arrays, kind: str) -> list[NDArray[Any]]:
    """The arrays `group_N_KIND`, in the order of N."""
    count = sum(name.endswith("_mask") for name in arrays)
    return [arrays[f"group_{number}_{kind}"] for number in range(count)]


def cost(lengths: Sequence[int]) -> float:
    """What attention costs for one group, by the terms of `layouts`; nothing where the group is empty."""
    return len(lengths) * max(lengths) * (max(lengths) + 20.0) + 300.0 if lengths else 0.0


def cost_of(texts: Sequence[Text], arrays: Arrays) -> float:
    """What attention costs for a batch as it was dealt."""
    return sum(cost([len(texts[index].ids) for index in members]) for members in groups_of(arrays, "texts"))


@PATIENT
@given(LENGTHS, GROUPS)
def test_every_token_has_one_slot_and_comes_back(lengths: list[int], groups: int) -> None:
    """What is gathered into groups and restored is what it was, token by token and text by text."""
    arrays = packed(random_batch(lengths), groups)
    masks, slots = groups_of(arrays, "mask"), groups_of(arrays, "tokens")
    held = np.concatenate([tokens[mask == 1] for tokens, mask in zip(slots, masks, strict=True)])
    assert sorted(held) == list(range(sum(lengths)))
    laid = np.concatenate([tokens.reshape(-1) for tokens in slots])
    np.testing.assert_array_equal(laid[arrays["restore_tokens"]], np.arange(sum(lengths)))
    np.testing.assert_array_equal(
        np.concatenate(groups_of(arrays, "texts"))[arrays["restore_texts"]], np.arange(len(lengths))
    )


@PATIENT
@given(LENGTHS, GROUPS)
def test_row_of_a_group_is_one_text(lengths: list[int], groups: int) -> None:
    """A row holds its text's tokens in order, marked by the mask, and padding that is some token of the batch."""
    arrays = packed(random_batch(lengths), groups)
    starts = arrays["first_tokens"]
    parts = (groups_of(arrays, kind) for kind in ("tokens", "mask", "texts"))
    for tokens, mask, members in zip(*parts, strict=True):
        assert tokens.shape == mask.shape == (len(members), max((lengths[index] for index in members), default=0))
        assert not tokens.size or (tokens.min() >= 0 and tokens.max() < sum(lengths))
        for row, marks, index in zip(tokens, mask, members, strict=True):
            length = lengths[index]
            np.testing.assert_array_equal(row[:length], starts[index] + np.arange(length))
            np.testing.assert_array_equal(marks, np.arange(len(marks)) < length)


@PATIENT
@given(LENGTHS, GROUPS)
def test_inputs_have_the_documented_types(lengths: list[int], groups: int) -> None:
    """The names, element types and shapes are those that a graph of as many groups declares."""
    arrays = packed(random_batch(lengths), groups)
    tokens, texts = (sum(lengths),), (len(lengths),)
    flat = {
        **dict.fromkeys(("input_ids", "position_ids", "token_type_ids", "restore_tokens"), tokens),
        **dict.fromkeys(("first_tokens", "restore_texts"), texts),
    }
    kinds = {f"group_{number}_{kind}" for number in range(groups) for kind in ("tokens", "mask", "texts")}
    assert arrays.keys() == flat.keys() | kinds
    assert {name: arrays[name].shape for name in flat} == flat
    for name, array in arrays.items():
        assert array.dtype == (np.int32 if name.endswith("_mask") else np.int64), name


@PATIENT
@given(LENGTHS, GROUPS)
def test_texts_lie_end_to_end(lengths: list[int], groups: int) -> None:
    """Ids and segments lie in the order of the texts, and the positions of each text count from 0."""
    texts = random_batch(lengths)
    arrays = packed(texts, groups)
    assert list(arrays["input_ids"]) == [token for text in texts for token in text.ids]
    assert list(arrays["token_type_ids"]) == [kind for text in texts for kind in text.type_ids]
    assert list(arrays["position_ids"]) == [place for length in lengths for place in range(length)]
    assert list(arrays["first_tokens"]) == [sum(lengths[:index]) for index in range(len(lengths))]


@PATIENT
@given(LENGTHS, GROUPS)
def test_dealing_never_costs_more_than_one_group(lengths: list[int], groups: int) -> None:
    """More groups are used only where they pay: the cost falls with their number, or stays."""
    texts = random_batch(lengths)
    costs = [cost_of(texts, packed(texts, count)) for count in (1, groups, groups + 1)]
    assert costs[0] == cost(lengths)
    assert costs[0] >= costs[1] >= costs[2]


@settings(deadline=None, max_examples=100)
@given(st.lists(st.integers(1, 600), min_size=1, max_size=7), st.integers(1, 4))
def test_dealing_is_the_cheapest_there_is(lengths: list[int], groups: int) -> None:
    """Of every way to cut the texts, sorted by length, into so many groups, none is cheaper."""
    texts, ordered = random_batch(lengths), sorted(lengths)
    cuts = combinations_with_replacement(range(len(lengths) + 1), groups - 1)
    every = (sum(cost(ordered[a:b]) for a, b in pairwise((0, *cut, len(lengths)))) for cut in cuts)
    assert cost_of(texts, packed(texts, groups)) == min(every)


def test_lengths_far_apart_are_dealt_apart() -> None:
    """Short and long texts are not in one group, in whatever order they come."""
    texts = random_batch([500, 3, 3, 500, 3])
    members = [sorted(each) for each in groups_of(packed(texts, 2), "texts")]
    assert sorted(members) == [[0, 3], [1, 2, 4]]


def test_empty_groups_are_well_formed() -> None:
    """One text leaves the other groups without rows and columns, each with its inputs all the same."""
    arrays = packed(random_batch([4]), 3)
    shapes = sorted(each.shape for each in groups_of(arrays, "tokens"))
    assert shapes == [(0, 0), (0, 0), (1, 4)]
    assert sorted(each.shape for each in groups_of(arrays, "mask")) == shapes
    assert sorted(each.shape for each in groups_of(arrays, "texts")) == [(0,), (0,), (1,)]


@PATIENT
@given(LENGTHS)
def test_without_groups_attention_is_told_where_texts_are(lengths: list[int]) -> None:
    """The places of all tokens in the padded layout come first and in order, then every place that is padding."""
    arrays = packed(random_batch(lengths), 0)
    assert not [name for name in arrays if name.startswith(("group_", "restore_"))]
    offsets, ends = arrays["token_offset"], arrays["cumulative_lengths"]
    assert offsets.dtype == ends.dtype == np.int32
    assert offsets.shape == (len(lengths), max(lengths))
    assert list(ends) == [sum(lengths[:index]) for index in range(len(lengths) + 1)]
    tokens, padding = np.split(offsets.reshape(-1), [sum(lengths)])
    assert list(tokens) == [row * max(lengths) + place for row, each in enumerate(lengths) for place in range(each)]
    assert sorted([*tokens, *padding]) == list(range(offsets.size))


@PATIENT
@given(LENGTHS, st.integers(0, 99))
def test_padded_is_filled_up_on_the_right(lengths: list[int], pad: int) -> None:
    """Each row is its text, then padding to the longest; segments of padding are 0."""
    texts = random_batch(lengths)
    arrays = padded(texts, pad)
    assert arrays.keys() == {"input_ids", "attention_mask", "token_type_ids"}
    for array in arrays.values():
        assert array.dtype == np.int64
        assert array.shape == (len(lengths), max(lengths))
    for index, text in enumerate(texts):
        padding = max(lengths) - len(text.ids)
        assert list(arrays["input_ids"][index]) == [*text.ids, *[pad] * padding]
        assert list(arrays["token_type_ids"][index]) == [*text.type_ids, *[0] * padding]
        assert list(arrays["attention_mask"][index]) == [1] * len(text.ids) + [0] * padding


@pytest.mark.parametrize(("kind", "groups", "computed"), [("padded", 0, 3 * 60), ("packed", 2, 67)])
def test_layout_arranges_and_counts(kind: str, groups: int, computed: int) -> None:
    """A layout makes its own kind of inputs, and knows what the linear layers compute of them."""
    layout = Layout(kind, groups, 7, by_token=False)  # type: ignore[arg-type]
    texts = random_batch([3, 60, 4])
    arrays = arrange(texts, layout)
    expected = packed(texts, 2) if kind == "packed" else padded(texts, 7)
    assert arrays.keys() == expected.keys()
    for name, array in arrays.items():
        np.testing.assert_array_equal(array, expected[name])
    assert layout.computed(3, 60, 67) == computed


@pytest.mark.parametrize("kind", ["padded", "packed"])
def test_text_level_output_is_a_row_a_text(kind: str) -> None:
    """Where a text has one answer, the output's rows are the answers."""
    logits = np.arange(6, dtype=np.float32).reshape(2, 3)
    parts = Layout(kind, int(kind == "packed"), 0, by_token=False).by_text(logits, [4, 1])  # type: ignore[arg-type]
    assert [part.tolist() for part in parts] == [[0, 1, 2], [3, 4, 5]]


@PATIENT
@given(LENGTHS)
def test_token_level_output_is_parted_by_text(lengths: list[int]) -> None:
    """Where every token has an answer, each text gets those of its own tokens, and none of padding."""
    texts = random_batch(lengths)
    for layout in (Layout("padded", 0, 0, by_token=True), Layout("packed", 3, 0, by_token=True)):
        ids = arrange(texts, layout)["input_ids"]
        parts = layout.by_text(ids[..., None].astype(np.float32), lengths)
        assert [part[:, 0].tolist() for part in parts] == [text.ids for text in texts]


@pytest.mark.parametrize("kind", ["padded", "packed"])
def test_refuses_texts_without_tokens(kind: Literal["padded", "packed"]) -> None:
    """A text without tokens would be answered with its neighbour's logits."""
    with pytest.raises(ValueError, match="without tokens"):
        arrange([Text([1, 2], [0, 0]), Text([], [])], Layout(kind, int(kind == "packed"), 0, by_token=False))


def test_positions_that_skip_padding() -> None:
    """They count from 1 in each text, and a padding token has 0."""
    texts = [Text([5, 1, 6, 7], [0] * 4), Text([1, 5], [0] * 2), Text([5, 5], [0] * 2)]
    arrays = arrange(texts, Layout("packed", 1, 1, by_token=False, skips_padding=True))
    assert arrays["position_ids"].tolist() == [1, 0, 2, 3, 0, 1, 1, 2]
