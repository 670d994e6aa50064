"""The padded input layout: the texts of a batch, filled up on the right to the longest."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from bertwire_server.tokenizer import Encoded


def cost(count: int, longest: int) -> int:
    """Tokens that a batch of `count` texts computes, padding included."""
    return count * longest


def pad(texts: Sequence[Encoded], pad_token_id: int) -> dict[str, NDArray[np.int64]]:
    """Lays texts out as `input_ids`, `attention_mask` and `token_type_ids`, each int64 [texts, longest]."""
    lengths = np.array([len(text.ids) for text in texts])
    mask = np.arange(lengths.max()) < lengths[:, None]
    ids = np.full(mask.shape, pad_token_id, dtype=np.int64)
    types = np.zeros(mask.shape, dtype=np.int64)
    # A boolean mask is filled row by row, which is the order of the texts laid end to end.
    ids[mask] = [token for text in texts for token in text.ids]
    types[mask] = [token for text in texts for token in text.type_ids]
    return {"input_ids": ids, "attention_mask": mask.astype(np.int64), "token_type_ids": types}
