"""Token ids of a split, as the data set that transformers' Trainer reads."""

from typing import TYPE_CHECKING, Any

import numpy
from torch.utils.data import Dataset

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

_CHUNK_TEXTS = 4096


class TokenDataset(Dataset[dict[str, Any]]):
    """Texts as token ids, cut to a maximum length and not padded.

    Each item has `input_ids` (a list of integers) and `labels` (an integer). One int32 array holds the ids of all
    texts, since Python lists would take ten times the memory.

    Attributes:
        lengths: tokens of each text, special tokens included.
        label_ids: the label of each text, int64 [texts].
    """

    def __init__(
        self, tokenizer: "PreTrainedTokenizerBase", texts: list[str], label_ids: list[int], max_length: int
    ) -> None:
        parts: list[numpy.ndarray] = []
        for start in range(0, len(texts), _CHUNK_TEXTS):
            encoded = tokenizer(texts[start : start + _CHUNK_TEXTS], truncation=True, max_length=max_length)
            parts.extend(numpy.asarray(ids, numpy.int32) for ids in encoded["input_ids"])
        self.lengths = [len(part) for part in parts]
        self.label_ids = numpy.asarray(label_ids)
        self._ids = numpy.concatenate(parts)
        self._ends = numpy.cumsum(self.lengths)

    def __len__(self) -> int:
        return len(self.lengths)

    def __getitem__(self, index: int) -> dict[str, Any]:
        end = self._ends[index]
        return {"input_ids": self._ids[end - self.lengths[index] : end].tolist(), "labels": int(self.label_ids[index])}
