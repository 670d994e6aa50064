"""What a pooled head reads of a text, and the field of config.json that says so. Needs the standard library."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal, get_args

from bertwire_core.errors import UserError

# The field of config.json; a checkpoint without it has the head of its own architecture.
KEY = "bertwire_pooling"
Pooled = Literal["first", "mean", "max"]


@dataclass(frozen=True, slots=True)
class Pooling:
    """How the vectors of a text's tokens become the one that a linear layer reads.

    Attributes:
        tokens: the first token's vector, or the mean or maximum of each channel over all tokens, special ones included.
        pooler: whether a dense layer with tanh follows, as in BERT.
        normalize: whether the vector is divided by its Euclidean norm at last.
    """

    tokens: Pooled
    pooler: bool = False
    normalize: bool = False

    def field(self) -> dict[str, Any]:
        """Return the value of `KEY` in config.json."""
        return asdict(self)


def read_pooling(config: Mapping[str, Any]) -> Pooling | None:
    """Return the pooling of a configuration's fields; None for the head of the model's own architecture.

    Raises:
        UserError: the field does not say what to read.
    """
    value = config.get(KEY)
    if value is None:
        return None
    expected = {"tokens": set(get_args(Pooled)), "pooler": {True, False}, "normalize": {True, False}}
    if (
        not isinstance(value, dict)
        or value.keys() != expected.keys()
        or not all(isinstance(value[name], str | bool) and value[name] in known for name, known in expected.items())
    ):
        raise UserError(
            f"its config.json has {KEY} {value!r}; it must be an object with tokens (first, mean or max), pooler and "
            "normalize (true or false)"
        )
    return Pooling(**value)
