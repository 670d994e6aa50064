"""The interface of heads."""

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Protocol

from bertwire_runtime.output import Entity, Floats, Output
from bertwire_runtime.thresholds import MODELS_OWN, Thresholds

if TYPE_CHECKING:
    from bertwire_runtime.bundle import Manifest


class Head(Protocol):
    """Interpretation of a task's logits. Stateless.

    Attributes:
        by_token: whether logits are per token instead of per text.
    """

    by_token: bool

    def scores(self, manifest: "Manifest", logits: Floats) -> Floats:
        """Return the scores of one text's logits, float32 of the same shape."""

    def names(self, manifest: "Manifest") -> Sequence[str]:
        """Return the labels or entity types that thresholds may name; empty for numbers and vectors."""

    def given(self, manifest: "Manifest", output: Output) -> Iterable[tuple[str, float]]:
        """Return the labels or entities that reach the model's own thresholds, with scores; none where it abstained."""

    def chosen(self, manifest: "Manifest", output: Output, thresholds: Thresholds = MODELS_OWN) -> list[bool]:
        """Return per label whether it is predicted, for none where the model abstained.

        Empty where there are no labels of whole texts.
        """

    def entities(self, manifest: "Manifest", scores: Floats, words: Sequence[tuple[int, int, int]]) -> Sequence[Entity]:
        """Return the entities in text order, whatever their score; empty unless the head is by token.

        Args:
            manifest: the model's.
            scores: float32 [tokens, labels].
            words: each word's first token, and its start and end in the text, in code points.
        """


class ByText:
    """Base of the heads with logits per text."""

    by_token = False

    def entities(
        self,
        manifest: "Manifest",  # noqa: ARG002
        scores: Floats,  # noqa: ARG002
        words: Sequence[tuple[int, int, int]],  # noqa: ARG002
    ) -> Sequence[Entity]:
        """Return no entities."""
        return ()
