"""How a text longer than the model reads is read in chunks, and the field of config.json that says so."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from bertwire_core.errors import UserError

# The field of config.json; a checkpoint without it cuts long texts.
KEY = "bertwire_chunks"


@dataclass(frozen=True, slots=True)
class Chunks:
    """The chunks of a text. Its logits are the mean of theirs.

    Of a linear layer on a pooled vector that is the same as the layer on the mean of the chunks' vectors.

    Attributes:
        count: chunks of a text at most; what is left of it is cut.
        overlap: tokens that a chunk repeats of the one before.
    """

    count: int = 1
    overlap: int = 0

    def reads(self, max_length: int) -> str:
        """Return how much of a text a model of so many tokens reads, in words."""
        return f"{self.count} chunks of {max_length} tokens" if self.count > 1 else f"{max_length} tokens"

    def field(self) -> dict[str, Any]:
        """Return the value of `KEY` in config.json."""
        return asdict(self)


# No chunks: what is above the maximum length is cut.
WHOLE = Chunks()


def read_chunks(config: Mapping[str, Any]) -> Chunks:
    """Return the chunks of a configuration's fields; `WHOLE` where it has none.

    Raises:
        UserError: the field does not say how many.
    """
    value = config.get(KEY)
    if value is None:
        return WHOLE
    if (
        not isinstance(value, dict)
        or value.keys() != {"count", "overlap"}
        or not all(type(each) is int for each in value.values())
        or value["count"] < 1
        or value["overlap"] < 0
    ):
        raise UserError(f"its config.json has {KEY} {value!r}; it must be an object with count and overlap, integers")
    return Chunks(**value)
