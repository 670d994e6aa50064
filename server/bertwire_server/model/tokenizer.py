"""Text to token ids, by the Rust `tokenizers` library."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from tokenizers import Encoding, Tokenizer

from bertwire_server.query import Text


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
    """A bundle's tokenizer. Thread-safe; releases the GIL while it works."""

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

    @property
    def last_id(self) -> int:
        """The highest token id."""
        return max(self._by_side[self._side].get_vocab().values(), default=0)

    def encode(self, texts: Sequence[Text], side: Literal["left", "right"] | None = None) -> list[Encoded]:
        """Tokenizes texts in order, cutting them on `side`; None: on the model's own."""
        tokenizer = self._by_side[side or self._side]
        if not self._words:
            # Without the offsets, which take a seventh of the time.
            encodings = tokenizer.encode_batch_fast(texts)
            return [Encoded(each.ids, each.type_ids, bool(each.overflowing)) for each in encodings]
        return [
            Encoded(each.ids, each.type_ids, bool(each.overflowing), _words(each, text))
            for each, text in zip(tokenizer.encode_batch(texts), texts, strict=True)
        ]


def _load(content: bytes, max_length: int, side: str) -> Tokenizer:
    try:
        tokenizer = Tokenizer.from_buffer(content)
    except Exception as error:  # the library raises bare Exception
        raise ValueError(f"not a tokenizer: {error}") from error
    tokenizer.no_padding()
    tokenizer.enable_truncation(max_length, direction=side)
    return tokenizer


def _words(encoding: Encoding, text: Text) -> list[tuple[int, int, int]]:
    """Each word's first token, start and end; a word is what the tokenizer splits text into before subwords."""
    first = text if isinstance(text, str) else text[0]
    found: list[tuple[int, int, int]] = []
    before = None
    for token, (word, (start, end)) in enumerate(zip(encoding.word_ids, encoding.offsets, strict=True)):
        if word is not None and word == before:
            found[-1] = (*found[-1][:2], end)
        elif word is not None:
            # Some tokenizers count the space before a word to it.
            found.append((token, start + len(first[start:end]) - len(first[start:end].lstrip()), end))
        before = word
    return found
