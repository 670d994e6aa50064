"""One rule."""

from dataclasses import dataclass
from typing import Literal

Effect = Literal["force", "forbid", "boost"]


@dataclass(frozen=True, slots=True)
class Rule:
    """A pattern, and what it does to a label of the texts that it matches.

    Attributes:
        name: unique in its file.
        pattern: in the syntax of RE2, found anywhere in a text.
        label: place of the label in the model's order.
        effect: force: the label is decided for. forbid: it never is. boost: `boost` is added to its logit.
    """

    name: str
    pattern: str
    label: int
    effect: Effect
    boost: float = 0.0

    def __str__(self) -> str:
        return f"boost {self.boost:+g}" if self.effect == "boost" else self.effect
