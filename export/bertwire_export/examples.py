"""Tokenize the labelled rows that candidates are proven on, as the server will."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import chain, islice
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tokenizers import Encoding, Tokenizer

from bertwire_data.labelled import Labelled, encode_targets, outside_row, score
from bertwire_runtime.bundle import Scores, Split

Logits = NDArray[np.float32]


@dataclass(frozen=True)
class Examples:
    """One split of labelled rows, tokenized.

    Attributes:
        labelled: the rows.
        labels: the model's labels.
        chunks: the tokens of each text, of a long one in chunks.
        targets: as `bertwire_data.labelled.encode_targets` gives them.
        first_pieces: for token classification, the place of each word's first piece in its text; -1 where the word
            was cut off.
    """

    labelled: Labelled
    labels: list[str]
    chunks: list[list[Encoding]]
    targets: NDArray[Any]
    first_pieces: list[NDArray[np.int64]] | None

    @property
    def encodings(self) -> list[Encoding]:
        """The chunks of all texts, in order: what a graph is run on."""
        return list(chain.from_iterable(self.chunks))

    def split(self) -> Split:
        """Return the manifest's entry for these rows."""
        labelled = self.labelled
        return Split(source=labelled.source, texts=len(labelled), sha256=labelled.sha256())

    def spread(self, count: int) -> list[int]:
        """Return the places of at most `count` texts, evenly spread in file order."""
        return list(range(0, len(self.chunks), -(-len(self.chunks) // count)))

    def take(self, places: Sequence[int]) -> "Examples":
        """Return the texts at these places, in that order."""
        return replace(
            self,
            labelled=self.labelled.take(places),
            chunks=[self.chunks[place] for place in places],
            targets=self.targets[self.rows(places)],
            first_pieces=None if self.first_pieces is None else [self.first_pieces[place] for place in places],
        )

    def rows(self, places: Sequence[int]) -> NDArray[np.int64]:
        """Return the rows of `decided` and of the targets that belong to the texts at these places, int64."""
        if self.first_pieces is None:
            return np.asarray(places)
        words = [len(pieces) for pieces in self.first_pieces]
        ends = np.cumsum(words)
        return np.concatenate([np.arange(ends[place] - words[place], ends[place]) for place in places])

    def decided(self, by_chunk: Sequence[Logits]) -> Logits:
        """Return the logits that decide for a label or number, from those of each of `encodings`.

        Args:
            by_chunk: for each float32 [labels], or [tokens, labels] for token classification.

        Returns:
            float32 [texts, labels], or [words of all texts, labels].
        """
        if self.first_pieces is None:
            return means(self.chunks, by_chunk)
        outside = outside_row(self.labels)
        parts = [
            np.where(pieces[:, None] >= 0, logits[np.maximum(pieces, 0)], outside)
            for logits, pieces in zip(by_chunk, self.first_pieces, strict=True)
        ]
        return np.concatenate(parts)

    def read_rows(self, logits: Logits) -> tuple[Logits, NDArray[Any]]:
        """Return the rows of `decided` and of the targets that the model read: words that were cut off have none."""
        if self.first_pieces is None:
            return logits, self.targets
        read = np.concatenate(self.first_pieces) >= 0
        return logits[read], self.targets[read]

    def score(self, logits: Logits, thresholds: Sequence[float] | None = None) -> Scores:
        """Return every score of the task for what `decided` returns."""
        task, words = self.labelled.task, self.labelled.words()
        return score(task, logits, self.targets, self.labels, words, thresholds)


def encode(tokenizer: Tokenizer, labelled: Labelled, labels: list[str], chunks: int = 1) -> Examples:
    """Tokenize labelled rows, long texts in at most `chunks` chunks.

    Raises:
        UserError: a label is not one of `labels`.
    """
    encodings = tokenizer.encode_batch(list(labelled.inputs), is_pretokenized=labelled.by_word)
    pieces = None
    if labelled.by_word:
        pieces = [_first_pieces(each, len(words)) for each, words in zip(encodings, labelled.inputs, strict=True)]
    return Examples(labelled, labels, in_chunks(encodings, chunks), encode_targets(labelled, labels), pieces)


def in_chunks(encodings: Sequence[Encoding], most: int) -> list[list[Encoding]]:
    """Return the chunks that are read of each text, `most` of them at most."""
    return [[each, *each.overflowing[: most - 1]] for each in encodings]


def means(chunks: Sequence[Sequence[Encoding]], by_chunk: Sequence[Logits]) -> Logits:
    """Return the logits of each text, float32 [texts, labels]: the mean of those of its chunks, given in order."""
    found = iter(by_chunk)
    return np.stack([np.mean(list(islice(found, len(each))), axis=0) for each in chunks])


def _first_pieces(encoding: Encoding, words: int) -> NDArray[np.int64]:
    places = np.full(words, -1, np.int64)
    for place, word in reversed(list(enumerate(encoding.word_ids))):
        if word is not None:
            places[word] = place
    return places
