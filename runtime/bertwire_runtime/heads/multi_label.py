"""Any number of labels a text."""

from collections.abc import Iterable, Sequence
from functools import lru_cache
from math import exp
from operator import ge

import numpy as np

from bertwire_runtime.bundle.manifest import Manifest
from bertwire_runtime.heads.base import ByText
from bertwire_runtime.output import Floats, Output
from bertwire_runtime.thresholds import MODELS_OWN, Thresholds

# Labels up to which plain Python beats NumPy's call overhead.
_FEW = 20
# Logits are clipped here: the sigmoid is 0 or 1 in float32, and further away `exp` overflows.
_FAR = 80.0


class MultiLabel(ByText):
    """Sigmoids; a label is given where its sigmoid reaches the threshold that export fitted."""

    def scores(self, manifest: Manifest, logits: Floats) -> Floats:  # noqa: ARG002 - the seam's
        """Sigmoids."""
        if len(logits) <= _FEW:
            return np.array([1 / (1 + exp(-min(max(value, -_FAR), _FAR))) for value in logits.tolist()], np.float32)
        sigmoids: Floats = (1 / (1 + np.exp(-np.clip(logits, -_FAR, _FAR)))).astype(np.float32)
        return sigmoids

    def names(self, manifest: Manifest) -> Sequence[str]:
        """The labels."""
        return manifest.labels

    def given(self, manifest: Manifest, output: Output) -> Iterable[tuple[str, float]]:
        """Each label that reaches its threshold."""
        scores = output.scores.tolist()
        chosen = self.chosen(manifest, output)
        return [(label, score) for label, score, on in zip(manifest.labels, scores, chosen, strict=True) if on]

    def chosen(self, manifest: Manifest, output: Output, thresholds: Thresholds = MODELS_OWN) -> list[bool]:
        """All labels that reach their thresholds."""
        limits = _as_float32(manifest.calibration.thresholds)
        if thresholds:
            limits = tuple(map(thresholds.of, manifest.labels, limits))
        return list(map(ge, output.scores.tolist(), limits))


@lru_cache(maxsize=64)
def _as_float32(thresholds: tuple[float, ...]) -> tuple[float, ...]:
    """Round the manifest's two-decimal thresholds as float32 scores are, so that none is missed by a last bit."""
    return tuple(np.array(thresholds, np.float32).tolist())
