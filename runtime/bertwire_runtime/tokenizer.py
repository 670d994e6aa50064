"""Text to token ids, by the Rust `tokenizers` library."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal
from unicodedata import category

from tokenizers import Encoding, Tokenizer

# A pair for a model that reads two texts at a time.
Text = str | tuple[str, str]


@dataclass(frozen=True, slots=True)
class Encoded:
    """One tokenized text or pair.

    Attributes:
        ids: token ids, special tokens included, at most the model's maximum.
        type_ids: the segment of each token.
        truncated: whether the text was longer than that and was cut.
        words: see `Prediction`; empty unless asked for.
    """

    ids: list[int]
    type_ids: list[int]
    truncated: bool
    words: Sequence[tuple[int, int, int]] = ()


class TextTokenizer:
    """A bundle's tokenizer. Thread-safe; releases the GIL while it works.

    Attributes:
        last_id: the highest token id.
    """

    def __init__(
        self, content: bytes, max_length: int, truncation_side: Literal["left", "right"], *, words: bool = False
    ) -> None:
        """Loads `tokenizer.json` from its bytes.

        Args:
            content: the file.
            max_length: most tokens of a text, special tokens included.
            truncation_side: the side on which longer text is cut unless told otherwise.
            words: whether to find each text's words too.

        Raises:
            ValueError: the bytes are no tokenizer.
        """
        self._side, self._words = truncation_side, words
        # The side is a setting of the whole object, which other threads may be using.
        self._by_side = {side: _load(content, max_length, side) for side in ("left", "right")}
        self.last_id = max(self._by_side[truncation_side].get_vocab().values(), default=0)

    def encode(self, texts: Sequence[Text], side: Literal["left", "right"] | None = None) -> list[Encoded]:
        """Tokenizes texts in order, cutting them on `side`; None: on the model's own."""
        try:
            return self._encode(texts, self._by_side[side or self._side])
        except Exception:
            raise
        except BaseException as error:  # a panic of the library, which would end more than the call
            raise RuntimeError(f"the tokenizer failed: {error}") from error

    def _encode(self, texts: Sequence[Text], tokenizer: Tokenizer) -> list[Encoded]:
        if not self._words:
            # Without the offsets, which take a seventh of the time.
            encodings = tokenizer.encode_batch_fast(texts)
            return [Encoded(each.ids, each.type_ids, bool(each.overflowing)) for each in encodings]
        return [
            Encoded(each.ids, each.type_ids, bool(each.overflowing), _words(each, str(text)))
            for each, text in zip(tokenizer.encode_batch(texts), texts, strict=True)
        ]


def _load(content: bytes, max_length: int, side: str) -> Tokenizer:
    try:
        tokenizer = Tokenizer.from_buffer(content)
    except BaseException as error:  # the library raises bare Exception, and panics
        raise ValueError(f"not a tokenizer: {error}") from error
    tokenizer.no_padding()
    tokenizer.enable_truncation(max_length, direction=side)
    return tokenizer


def _words(encoding: Encoding, text: str) -> list[tuple[int, int, int]]:
    """Each word's first token, start and end; a word is what the tokenizer splits text into before subwords.

    A second space, which some tokenizers make a token of its own, is none: training has no words of spaces.
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
    words = ((token, *_as_seen(text, start, end)) for token, start, end in found)
    return [word for word in words if word[1] < word[2]]


def _mend_cut_words(found: list[tuple[int, int, int]], encoding: Encoding) -> None:
    """Gives the first and the last word the characters whose tokens were cut off."""
    read = [word for word in encoding.word_ids if word is not None]
    for part in encoding.overflowing:
        for word, (start, end) in zip(part.word_ids, part.offsets, strict=True):
            for place, cut in ((0, read[0]), (-1, read[-1])):
                if word == cut:
                    token, first, last = found[place]
                    found[place] = (token, min(first, start), max(last, end))


def _as_seen(text: str, start: int, end: int) -> tuple[int, int]:
    """A word's bounds without the space that some tokenizers count to it, with the marks that some drop at its end."""
    while start < end and text[start].isspace():
        start += 1
    while end < len(text) and text[end] > "\x7f" and category(text[end])[0] == "M":
        end += 1
    return start, end
