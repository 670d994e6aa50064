"""The small parts of the server: layout, scores, tokenizer."""

import asyncio
from pathlib import Path

import numpy as np
import pytest
from bertwire_server.batch import pad

from bertwire_server.classifier import _results
from bertwire_server.decision import best, softmax
from bertwire_server.model import Prediction
from bertwire_server.tokenizer import Encoded, TextTokenizer


def test_pads_on_the_right() -> None:
    """Texts are filled up to the longest with the padding token, and the mask says where."""
    arrays = pad([Encoded([5, 6, 7], [0, 0, 1], False), Encoded([8], [1], False)], pad_token_id=9)
    assert arrays["input_ids"].tolist() == [[5, 6, 7], [8, 9, 9]]
    assert arrays["attention_mask"].tolist() == [[1, 1, 1], [1, 0, 0]]
    assert arrays["token_type_ids"].tolist() == [[0, 0, 1], [1, 0, 0]]
    assert {values.dtype for values in arrays.values()} == {np.dtype(np.int64)}


def test_softmax_survives_large_logits() -> None:
    """Scores sum to 1 for logits whose powers overflow."""
    scores = softmax(np.array([1000, 1000, -1000], dtype=np.float32))
    np.testing.assert_allclose(scores, [0.5, 0.5, 0])


@pytest.mark.parametrize(("count", "expected"), [(None, [2, 1, 3, 0]), (1, [2]), (3, [2, 1, 3]), (99, [2, 1, 3, 0])])
def test_best_keeps_order_of_equals(count: int | None, expected: list[int]) -> None:
    """Highest first; equal scores in label order; never more than there are."""
    assert best(np.array([0, 0.2, 0.6, 0.2], dtype=np.float32), count) == expected


@pytest.mark.parametrize(("side", "kept"), [("right", [2, 6, 7, 3]), ("left", [2, 8, 9, 3])])
def test_truncates_on_its_side(bundle: Path, side: str, kept: list[int]) -> None:
    """Long text loses its end or its start, keeps its special tokens, and says so."""
    tokenizer = TextTokenizer((bundle / "tokenizer.json").read_bytes(), 4, side)  # type: ignore[arg-type]
    long, short = tokenizer.encode(["w1 w2 w3 w4", "w1 w2"])
    assert (long.ids, long.truncated) == (kept, True)
    assert (short.ids, short.truncated) == ([2, 6, 7, 3], False)


def test_refuses_what_is_no_tokenizer() -> None:
    """Bytes that are no tokenizer raise ValueError."""
    with pytest.raises(ValueError, match="not a tokenizer"):
        TextTokenizer(b"{}", 8, "right")


async def test_large_response_leaves_others_their_turn() -> None:
    """While the results of a large call are built, other calls go on."""
    logits = np.zeros(77, dtype=np.float32)
    predictions = [Prediction(logits, logits, 3, False, 0, 0, 0)] * 1024
    turns = 0

    async def count() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    other = asyncio.create_task(count())
    labels = tuple(map(str, range(77)))
    built = [len(result.labels) async for result in _results(predictions, labels, top_k=None, logits=True)]
    other.cancel()
    assert built == [77] * 1024
    assert turns > 20
