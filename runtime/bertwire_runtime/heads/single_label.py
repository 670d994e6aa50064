"""The head for exactly one label per text."""

from collections.abc import Iterable, Sequence

from bertwire_runtime.bundle.manifest import Manifest
from bertwire_runtime.heads.base import ByText
from bertwire_runtime.heads.softmax import softmax
from bertwire_runtime.output import Floats, Output
from bertwire_runtime.thresholds import MODELS_OWN, Thresholds


class SingleLabel(ByText):
    """Softmax scores, calibrated by the fitted temperature."""

    def scores(self, manifest: Manifest, logits: Floats) -> Floats:
        """Return the softmax of the logits."""
        return softmax(logits, manifest.calibration.temperature)

    def names(self, manifest: Manifest) -> Sequence[str]:
        """Return the labels."""
        return manifest.labels

    def given(self, manifest: Manifest, output: Output) -> Iterable[tuple[str, float]]:
        """Return the best label; none where the model abstained."""
        if output.abstained:
            return ()
        return ((manifest.labels[output.top], float(output.scores[output.top])),)

    def chosen(self, manifest: Manifest, output: Output, thresholds: Thresholds = MODELS_OWN) -> list[bool]:
        """Return True for the best label where it reaches its threshold, by default 0; for none where it abstained."""
        chosen = [False] * len(output.scores)
        reached = float(output.scores[output.top]) >= thresholds.of(manifest.labels[output.top], 0.0)
        chosen[output.top] = reached and not output.abstained
        return chosen
