"""Text to token ids, by the Rust `tokenizers` library."""

from dataclasses import dataclass
from typing import Literal

from tokenizers import Tokenizer


@dataclass(frozen=True, slots=True)
class Encoded:
    """One tokenized text.

    Attributes:
        ids: token ids, special tokens included, at most the model's maximum.
        type_ids: the segment of each token.
        truncated: whether the text was longer than that and was cut.
    """

    ids: list[int]
    type_ids: list[int]
    truncated: bool


class TextTokenizer:
    """A bundle's tokenizer. Thread-safe; releases the GIL while it works."""

    def __init__(self, content: bytes, max_length: int, truncation_side: Literal["left", "right"]) -> None:
        """Loads `tokenizer.json` from its bytes.

        Args:
            content: the file.
            max_length: most tokens of a text, special tokens included.
            truncation_side: the side on which longer text is cut.

        Raises:
            ValueError: the bytes are no tokenizer.
        """
        try:
            self._tokenizer = Tokenizer.from_buffer(content)
        except Exception as error:  # the library raises bare Exception
            raise ValueError(f"not a tokenizer: {error}") from error
        self._tokenizer.no_padding()
        self._tokenizer.enable_truncation(max_length, direction=truncation_side)

    @property
    def last_id(self) -> int:
        """The highest token id."""
        return max(self._tokenizer.get_vocab().values(), default=0)

    def encode(self, texts: list[str]) -> list[Encoded]:
        """Tokenizes texts in order."""
        encodings = self._tokenizer.encode_batch(texts)
        return [Encoded(each.ids, each.type_ids, bool(each.overflowing)) for each in encodings]
