"""The head for any number of labels per text."""

from collections.abc import Iterable, Sequence
from functools import lru_cache
from math import exp, inf
from operator import ge

import numpy as np

from bertwire_runtime.bundle.manifest import Manifest
from bertwire_runtime.heads.base import ByText
from bertwire_runtime.output import Floats, Output
from bertwire_runtime.thresholds import MODELS_OWN, Thresholds

# Most labels for which plain Python beats NumPy's call overhead.
_FEW = 20
# Clipping bound of logits: beyond it `exp` overflows, and the sigmoid is 0 or 1 in float32 anyway.
_FAR = 80.0
# Below the sigmoid of -_FAR, the least score of a label that is not forbidden.
_LEAST = 1e-36


class MultiLabel(ByText):
    """Sigmoid scores; a label is predicted where its score reaches its fitted threshold."""

    def scores(self, manifest: Manifest, logits: Floats) -> Floats:  # noqa: ARG002 - the interface's
        """Return the sigmoids of the logits; exactly 0 of minus infinity, a label that rules forbid."""
        if len(logits) <= _FEW:
            return np.array([_sigmoid(value) for value in logits.tolist()], np.float32)
        sigmoids: Floats = (1 / (1 + np.exp(-np.clip(logits, -_FAR, _FAR)))).astype(np.float32)
        sigmoids[np.isneginf(logits)] = 0
        return sigmoids

    def names(self, manifest: Manifest) -> Sequence[str]:
        """Return the labels."""
        return manifest.labels

    def given(self, manifest: Manifest, output: Output) -> Iterable[tuple[str, float]]:
        """Return each label that reaches its threshold."""
        scores = output.scores.tolist()
        chosen = self.chosen(manifest, output)
        return [(label, score) for label, score, on in zip(manifest.labels, scores, chosen, strict=True) if on]

    def chosen(self, manifest: Manifest, output: Output, thresholds: Thresholds = MODELS_OWN) -> list[bool]:
        """Return per label whether it reaches its threshold."""
        limits = _as_float32(manifest.calibration.thresholds)
        if thresholds:
            limits = _reachable(map(thresholds.of, manifest.labels, limits))
        return list(map(ge, output.scores.tolist(), limits))


def _sigmoid(logit: float) -> float:
    return 0.0 if logit == -inf else 1 / (1 + exp(-min(max(logit, -_FAR), _FAR)))


@lru_cache(maxsize=64)
def _as_float32(thresholds: tuple[float, ...]) -> tuple[float, ...]:
    """Round the manifest's decimal thresholds to float32, so that an equal float32 score compares as equal."""
    return _reachable(np.array(thresholds, np.float32).tolist())


def _reachable(thresholds: Iterable[float]) -> tuple[float, ...]:
    """Raise thresholds of 0: with those too, a label that rules forbid is not predicted."""
    return tuple(max(each, _LEAST) for each in thresholds)
