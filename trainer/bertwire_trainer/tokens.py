"""Token ids of a split, as the dataset that transformers' Trainer reads."""

from collections import defaultdict
from collections.abc import Iterator
from itertools import accumulate
from typing import TYPE_CHECKING, Any

import numpy
from numpy.typing import NDArray
from torch.utils.data import Dataset

from bertwire_core.chunks import WHOLE, Chunks, read_chunks
from bertwire_data.labelled import Labelled
from bertwire_trainer.loading import reads_type_ids
from bertwire_trainer.tasks import SPECS
from bertwire_trainer.tasks.cross_entropy import IGNORED

if TYPE_CHECKING:
    from tokenizers import Encoding
    from transformers import BatchEncoding, PreTrainedTokenizerBase

    from bertwire_core.pooled import Classifier

# Texts tokenized by one call, whose ids are Python lists until they are copied to arrays; halved, nothing breaks.
_CHUNK_TEXTS = 4096


def tokenize(
    model: "Classifier", tokenizer: "PreTrainedTokenizerBase", labelled: Labelled, targets: NDArray[Any]
) -> "TokenDataset":
    """Return a split as token ids for a model, cut to the tokenizer's `model_max_length`."""
    type_ids = labelled.text_pairs and reads_type_ids(model)
    chunks = read_chunks(model.config.to_dict())
    return TokenDataset(tokenizer, labelled, targets, tokenizer.model_max_length, type_ids=type_ids, chunks=chunks)


class TokenDataset(Dataset[dict[str, Any]]):
    """Texts, pairs of texts or words as token ids, cut to a maximum length and not padded.

    The items are the texts in their order; where long texts are read in chunks, these are the first ones, and the
    others come after all texts.

    Each item has `input_ids`, `token_type_ids` for models that read them, and `labels`: an integer, a list of 0 and 1,
    a number, or for a task by word a list with one integer a token. One array holds the ids of all texts, since Python
    lists would take ten times the memory.

    Attributes:
        task: the task of the labels.
        targets: the targets as `encode_targets` gives them; predictions have as many rows, in this order.
        lengths: tokens of each item, special tokens included.
        texts: number of texts.
        chunks: how long texts are read.
        cut: number of texts that are not read to their end.
        unknown: share of the tokens, special ones left out, that the vocabulary lacks.
    """

    def __init__(
        self,
        tokenizer: "PreTrainedTokenizerBase",
        labelled: Labelled,
        targets: NDArray[Any],
        max_length: int,
        *,
        type_ids: bool,
        chunks: Chunks = WHOLE,
    ) -> None:
        self.task, self.targets, self.chunks = labelled.task, targets, chunks
        self.lengths: list[int] = []
        self.texts, self.cut = len(labelled), 0
        later: list[tuple[int, Encoding]] = []
        self._rows: list[NDArray[numpy.integer]] = []
        starts = [0, *accumulate(labelled.words() or ())]
        parts: dict[str, list[NDArray[numpy.integer]]] = defaultdict(list)
        for encoded in _encode(tokenizer, labelled, max_length, type_ids, chunks.overlap):
            for index, pieces in enumerate(encoded["input_ids"]):
                if SPECS[labelled.task].by_word:
                    places, words = _first_pieces(encoded.word_ids(index))
                    self._rows.append(starts[len(self.lengths)] + words)
                    parts["labels"].append(numpy.full(len(pieces), IGNORED, numpy.int32))
                    parts["labels"][-1][places] = targets[self._rows[-1]]
                if type_ids:
                    parts["token_type_ids"].append(numpy.asarray(encoded["token_type_ids"][index], numpy.int8))
                parts["input_ids"].append(numpy.asarray(pieces, numpy.int32))
                self.lengths.append(len(pieces))
                overflowing = encoded[index].overflowing
                later += [(len(self.lengths) - 1, each) for each in overflowing[: chunks.count - 1]]
                self.cut += len(overflowing) >= chunks.count
        for _, chunk in later:
            parts["input_ids"].append(numpy.asarray(chunk.ids, numpy.int32))
            self.lengths.append(len(chunk.ids))
        self._later = [text for text, _ in later]
        self._ends = numpy.cumsum(self.lengths)
        self._tokens = {name: numpy.concatenate(values) for name, values in parts.items()}
        self.unknown = _unknown(tokenizer, self._tokens["input_ids"])

    def __len__(self) -> int:
        return len(self.lengths)

    def __getitem__(self, index: int) -> dict[str, Any]:
        end = self._ends[index]
        item = {name: values[end - self.lengths[index] : end].tolist() for name, values in self._tokens.items()}
        return item if "labels" in item else item | {"labels": self.targets[self.text(index)].tolist()}

    def text(self, index: int) -> int:
        """Return the text of an item."""
        return index if index < self.texts else self._later[index - self.texts]

    def by_text(self, values: NDArray[numpy.float32]) -> NDArray[numpy.float32]:
        """Return the mean of the values, float32 [items, size], of each text's items: float32 [texts, size]."""
        if not self._later:
            return values
        total = values[: self.texts].copy()
        numpy.add.at(total, self._later, values[self.texts :])
        return total / (1 + numpy.bincount(self._later, minlength=self.texts)).astype(numpy.float32)[:, None]

    def rows(self, index: int) -> NDArray[numpy.integer]:
        """Return the rows of `targets`, integers, of an item: its text's, or its words' that are not cut off."""
        return self._rows[index] if self._rows else numpy.array([self.text(index)])


def _encode(
    tokenizer: "PreTrainedTokenizerBase", labelled: Labelled, max_length: int, type_ids: bool, overlap: int
) -> Iterator["BatchEncoding"]:
    for start in range(0, len(labelled), _CHUNK_TEXTS):
        chunk = labelled.inputs[start : start + _CHUNK_TEXTS]
        texts = [list(side) for side in zip(*chunk, strict=True)] if labelled.text_pairs else [chunk]
        yield tokenizer(
            *texts,
            is_split_into_words=SPECS[labelled.task].by_word,
            truncation="longest_first",
            max_length=max_length,
            stride=overlap,
            return_token_type_ids=type_ids,
            return_attention_mask=False,
        )


def _unknown(tokenizer: "PreTrainedTokenizerBase", ids: NDArray[numpy.integer]) -> float:
    if tokenizer.unk_token_id is None:
        return 0.0
    special = numpy.isin(ids, [each for each in tokenizer.all_special_ids if each != tokenizer.unk_token_id])
    return float((ids == tokenizer.unk_token_id).sum() / max((~special).sum(), 1))


def _first_pieces(word_ids: list[int | None]) -> tuple[list[int], NDArray[numpy.integer]]:
    """Return the place of the first piece of each word that was not cut off, and the number of the word in its text."""
    before = [None, *word_ids]
    firsts = [(place, word) for place, word in enumerate(word_ids) if word is not None and word != before[place]]
    return [place for place, _ in firsts], numpy.asarray([word for _, word in firsts], numpy.int64)
