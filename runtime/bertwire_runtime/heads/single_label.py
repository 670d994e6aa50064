"""One label a text."""

from collections.abc import Iterable, Sequence

from bertwire_runtime.bundle.manifest import Manifest
from bertwire_runtime.heads.base import ByText
from bertwire_runtime.heads.softmax import softmax
from bertwire_runtime.output import Floats, Output
from bertwire_runtime.thresholds import MODELS_OWN, Thresholds


class SingleLabel(ByText):
    """Softmax, by the temperature that export fitted so that a score is the chance to be right."""

    def scores(self, manifest: Manifest, logits: Floats) -> Floats:
        """Softmax."""
        return softmax(logits, manifest.calibration.temperature)

    def names(self, manifest: Manifest) -> Sequence[str]:
        """The labels."""
        return manifest.labels

    def given(self, manifest: Manifest, output: Output) -> Iterable[tuple[str, float]]:
        """The best label."""
        best = int(output.scores.argmax())
        return ((manifest.labels[best], float(output.scores[best])),)

    def chosen(self, manifest: Manifest, output: Output, thresholds: Thresholds = MODELS_OWN) -> list[bool]:
        """The best label, where it reaches its threshold, which is 0 unless the caller sets one."""
        best = int(output.scores.argmax())
        chosen = [False] * len(output.scores)
        chosen[best] = float(output.scores[best]) >= thresholds.of(manifest.labels[best], 0.0)
        return chosen
