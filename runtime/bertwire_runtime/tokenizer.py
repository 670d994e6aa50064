"""Tokenization with the Rust `tokenizers` library."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import accumulate
from typing import Literal, NamedTuple

import numpy as np
from tokenizers import Encoding, Tokenizer

from bertwire_core.chunks import WHOLE, Chunks
from bertwire_runtime.output import Floats
from bertwire_runtime.rules.rule import Rule
from bertwire_runtime.spans import Span, apart, as_seen, words

# A text, or a pair of texts.
Text = str | tuple[str, str]


@dataclass(frozen=True, slots=True)
class Encoded:
    """One tokenized text or pair.

    Attributes:
        ids: token ids, special tokens included; of a text in chunks those of all, one chunk after the other.
        type_ids: segment ids, as many.
        truncated: whether the text was cut.
        words: each word's first token, and its start and end in the text, in code points; empty unless requested.
        rules: the rules that match the text, in file order.
        ends: where each chunk of a text in chunks ends; empty for a text in one.
    """

    ids: list[int]
    type_ids: list[int]
    truncated: bool
    words: Sequence[tuple[int, int, int]] = ()
    rules: tuple[Rule, ...] = ()
    ends: Sequence[int] = ()

    def chunks(self) -> "list[Encoded]":
        """Return the chunks, each as a text of its own."""
        starts = [0, *self.ends]
        return [
            Encoded(self.ids[start:end], self.type_ids[start:end], self.truncated)
            for start, end in zip(starts, self.ends, strict=False)
        ] or [self]


class Token(NamedTuple):
    """One token of a text.

    Attributes:
        name: its entry in the vocabulary.
        special: whether it stands for no characters of the text.
        start, end: where it stands in the text, in code points.
    """

    id: int
    name: str
    special: bool
    start: int
    end: int


class TextTokenizer:
    """A bundle's tokenizer. Thread-safe; releases the GIL.

    Attributes:
        last_id: the highest token id.
    """

    def __init__(
        self,
        content: bytes,
        max_length: int,
        truncation_side: Literal["left", "right"],
        *,
        words: bool = False,
        chunks: Chunks = WHOLE,
    ) -> None:
        """Load `tokenizer.json` from its bytes.

        Args:
            content: the file.
            max_length: most tokens per text, special tokens included.
            truncation_side: default side on which longer text is cut.
            words: whether to return word spans.
            chunks: how longer text is read.

        Raises:
            ValueError: the bytes are no tokenizer.
        """
        self._side, self._words, self._chunks = truncation_side, words, chunks.count
        # The side is state of the tokenizer object, which threads share.
        self._by_side = {side: _load(content, max_length, side, chunks.overlap) for side in ("left", "right")}
        # Truncation is state of the tokenizer object too.
        self._whole = Tokenizer.from_buffer(content)
        self._whole.no_padding()
        self._whole.no_truncation()
        self.last_id = max(self._by_side[truncation_side].get_vocab().values(), default=0)

    def words(self, text: Text, side: Literal["left", "right"] | None = None) -> list[list[Span]]:
        """Return the words that the model reads of a text, or of each text of a pair, see `spans.words`."""
        with _panics_told():
            (encoding,) = self._by_side[side or self._side].encode_batch([text])
        texts = (text,) if isinstance(text, str) else text
        chunks = [words(each, texts) for each in (encoding, *encoding.overflowing[: self._chunks - 1])]
        return [apart(span for chunk in chunks for span in chunk[place]) for place in range(len(texts))]

    def tokens(self, text: str, *, special: bool) -> Iterator[Token]:
        """Yield the tokens of a text, however many; `special`: with those that are put around it."""
        with _panics_told():
            # `encode` does not release the GIL.
            (encoding,) = self._whole.encode_batch([text], add_special_tokens=special)
        parts = zip(encoding.ids, encoding.tokens, encoding.special_tokens_mask, encoding.offsets, strict=True)
        for number, name, mask, offsets in parts:
            yield Token(number, name, bool(mask), *offsets)

    def encode(self, texts: Sequence[Text], side: Literal["left", "right"] | None = None) -> list[Encoded]:
        """Tokenize texts in order, cutting long ones on `side`; None: on the model's own."""
        with _panics_told():
            return self._encode(texts, self._by_side[side or self._side])

    def _encode(self, texts: Sequence[Text], tokenizer: Tokenizer) -> list[Encoded]:
        if not self._words:
            # The fast method omits offsets and saves a seventh of the time.
            encodings = tokenizer.encode_batch_fast(texts)
            return [self._in_chunks(each) for each in encodings]
        return [
            Encoded(each.ids, each.type_ids, bool(each.overflowing), _words(each, str(text)))
            for each, text in zip(tokenizer.encode_batch(texts), texts, strict=True)
        ]

    def _in_chunks(self, encoding: Encoding) -> Encoded:
        rest = encoding.overflowing
        if not rest or self._chunks == 1:
            return Encoded(encoding.ids, encoding.type_ids, bool(rest))
        read = [encoding, *rest[: self._chunks - 1]]
        ids = [token for each in read for token in each.ids]
        type_ids = [kind for each in read for kind in each.type_ids]
        return Encoded(ids, type_ids, len(rest) >= self._chunks, ends=list(accumulate(len(each.ids) for each in read)))


@contextmanager
def _panics_told() -> Iterator[None]:
    """Raise `RuntimeError` for a panic of the library, which is no `Exception` and would end more than the call."""
    try:
        yield
    except Exception:
        raise
    except BaseException as error:
        raise RuntimeError(f"the tokenizer failed: {error}") from error


def means_by_text(encoded: Sequence[Encoded], logits: Iterable[Floats]) -> list[Floats]:
    """Return the logits of each text, the mean of those of its chunks.

    Args:
        encoded: the texts.
        logits: float32 [labels] of each of their chunks, in order; of texts in one chunk whatever the model gives.
    """
    found = iter(logits)
    return [
        np.mean([next(found) for _ in each.ends], axis=0, dtype=np.float32) if each.ends else next(found)
        for each in encoded
    ]


def _load(content: bytes, max_length: int, side: str, overlap: int) -> Tokenizer:
    try:
        tokenizer = Tokenizer.from_buffer(content)
    except BaseException as error:  # the library raises bare Exception, and panics
        raise ValueError(f"not a tokenizer: {error}") from error
    tokenizer.no_padding()
    try:
        tokenizer.enable_truncation(max_length, stride=overlap, direction=side)
    except BaseException as error:  # as above
        raise ValueError(f"no tokenizer for {max_length} tokens with an overlap of {overlap}: {error}") from error
    return tokenizer


def _words(encoding: Encoding, text: str) -> list[tuple[int, int, int]]:
    """Return each word's first token, start and end; words are the pre-tokenizer's.

    Words of only spaces, which some tokenizers produce, are dropped: training has none.
    """
    found: list[tuple[int, int, int]] = []
    before = None
    for token, (word, (start, end)) in enumerate(zip(encoding.word_ids, encoding.offsets, strict=True)):
        if word is not None and word == before:
            found[-1] = (*found[-1][:2], end)
        elif word is not None:
            found.append((token, start, end))
        before = word
    if found and encoding.overflowing:
        _mend_cut_words(found, encoding)
    words = ((token, *as_seen(text, start, end)) for token, start, end in found)
    return [word for word in words if word[1] < word[2]]


def _mend_cut_words(found: list[tuple[int, int, int]], encoding: Encoding) -> None:
    """Extend the first and last word over the tokens that truncation removed."""
    read = [word for word in encoding.word_ids if word is not None]
    for part in encoding.overflowing:
        for word, (start, end) in zip(part.word_ids, part.offsets, strict=True):
            for place, cut in ((0, read[0]), (-1, read[-1])):
                if word == cut:
                    token, first, last = found[place]
                    found[place] = (token, min(first, start), max(last, end))
