"""The seam: what every head can say of logits."""

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Protocol

from bertwire_runtime.output import Entity, Floats, Output
from bertwire_runtime.thresholds import MODELS_OWN, Thresholds

if TYPE_CHECKING:
    from bertwire_runtime.bundle import Manifest


class Head(Protocol):
    """What a task's logits mean. Stateless.

    Attributes:
        by_token: whether every token has logits, else every text.
    """

    by_token: bool

    def scores(self, manifest: "Manifest", logits: Floats) -> Floats:
        """Turn the logits of one text into scores, float32 of the same shape."""

    def names(self, manifest: "Manifest") -> Sequence[str]:
        """Return the labels or entity types that may be given, and that thresholds may name; empty for a number."""

    def given(self, manifest: "Manifest", output: Output) -> Iterable[tuple[str, float]]:
        """Return what the model decides by its own thresholds, each with its score; nothing for a number."""

    def chosen(self, manifest: "Manifest", output: Output, thresholds: Thresholds = MODELS_OWN) -> list[bool]:
        """Return for each label whether the model decides for it; none where the head reads tokens."""

    def entities(self, manifest: "Manifest", output: Output, thresholds: Thresholds = MODELS_OWN) -> list[Entity]:
        """Return the entities of the text in their order; none where the head reads texts."""


class ByText:
    """What heads have in common that read texts."""

    by_token = False

    def entities(self, manifest: "Manifest", output: Output, thresholds: Thresholds = MODELS_OWN) -> list[Entity]:  # noqa: ARG002
        """A text has no entities."""
        return []
