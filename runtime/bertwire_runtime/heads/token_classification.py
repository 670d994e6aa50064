"""The head for a tag per word, decoded into entities."""

from collections.abc import Iterable, Sequence

from bertwire_core.tags import OUTSIDE, spans
from bertwire_runtime.bundle.manifest import Manifest
from bertwire_runtime.heads.softmax import softmax
from bertwire_runtime.output import Entity, Floats, Output
from bertwire_runtime.thresholds import MODELS_OWN, Thresholds


class TokenClassification:
    """Softmax per token; a word has the tag of its first token."""

    by_token = True

    def scores(self, manifest: Manifest, logits: Floats) -> Floats:
        """Return the softmax of each token's logits."""
        return softmax(logits, manifest.calibration.temperature)

    def names(self, manifest: Manifest) -> Sequence[str]:
        """Return the entity types: the tags without B- and I-, deduplicated in order."""
        return list(dict.fromkeys(tag[2:] for tag in manifest.labels if tag != OUTSIDE))

    def given(self, manifest: Manifest, output: Output) -> Iterable[tuple[str, float]]:  # noqa: ARG002
        """Return type and score of each entity."""
        return ((entity.label, entity.score) for entity in output.entities)

    def entities(self, manifest: Manifest, scores: Floats, words: Sequence[tuple[int, int, int]]) -> Sequence[Entity]:
        """Return the entities of the words' tags."""
        if not words:
            return ()
        rows = scores[[word[0] for word in words]]
        chances = rows.max(axis=-1).tolist()
        return [
            Entity(kind, words[start][1], words[end - 1][2], sum(chances[start:end]) / (end - start))
            for kind, start, end in spans(manifest.labels[place] for place in rows.argmax(axis=-1).tolist())
        ]

    def chosen(self, manifest: Manifest, output: Output, thresholds: Thresholds = MODELS_OWN) -> list[bool]:  # noqa: ARG002
        """Return nothing: there are no labels per text."""
        return []
