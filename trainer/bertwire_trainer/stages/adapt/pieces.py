"""Token ids of texts without labels."""

from typing import TYPE_CHECKING

import numpy
from numpy.typing import NDArray
from torch.utils.data import Dataset

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

# Texts tokenized by one call, whose ids are Python lists until they are copied to arrays; halved, nothing breaks.
_CHUNK_TEXTS = 4096


class Pieces(Dataset[dict[str, list[int]]]):
    """Texts as token ids; of a text longer than the tokenizer's `model_max_length` each part is an item of its own.

    Each item has `input_ids`. Texts of which the tokenizer leaves nothing are left out.
    """

    def __init__(self, tokenizer: "PreTrainedTokenizerBase", texts: list[str]) -> None:
        empty = tokenizer.num_special_tokens_to_add()
        self._ids: list[NDArray[numpy.int32]] = []
        for start in range(0, len(texts), _CHUNK_TEXTS):
            encoded = tokenizer(
                texts[start : start + _CHUNK_TEXTS],
                truncation=True,
                return_overflowing_tokens=True,
                return_attention_mask=False,
                return_token_type_ids=False,
            )
            self._ids += [numpy.asarray(ids, numpy.int32) for ids in encoded["input_ids"] if len(ids) > empty]

    def __len__(self) -> int:
        return len(self._ids)

    def __getitem__(self, index: int) -> dict[str, list[int]]:
        return {"input_ids": self._ids[index].tolist()}
