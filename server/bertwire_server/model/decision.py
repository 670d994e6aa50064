"""Logits to scores, scores to labels and entities."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bertwire_export.bundle import Manifest
from bertwire_server.errors import InvalidRequest
from bertwire_server.query import Prediction

Floats = NDArray[np.float32]
_OUTSIDE = "O"


@dataclass(frozen=True, slots=True)
class Thresholds:
    """Least scores that a caller asks for.

    Attributes:
        all: for every label or type of entity; None: the model's own.
        by_label: over `all`, for single ones.
    """

    all: float | None = None
    by_label: Mapping[str, float] | None = None

    def of(self, label: str, default: float) -> float:
        """The threshold of a label, for which the model has `default`."""
        fallback = default if self.all is None else self.all
        return fallback if self.by_label is None else self.by_label.get(label, fallback)

    def require_fitting(self, manifest: Manifest) -> None:
        """Raises `InvalidRequest` where a threshold is no score, or names a label that the model does not have."""
        if self.all is None and not self.by_label:
            return
        if manifest.task == "regression":
            raise InvalidRequest("the model gives a number, which no threshold applies to; send none")
        values = {"threshold": self.all, **{f"thresholds[{key[:64]!r}]": each for key, each in self._items()}}
        for name, value in values.items():
            if value is not None and not 0 <= value <= 1:
                raise InvalidRequest(f"{name} is {value}; a score lies in 0 to 1")
        known = set(entity_types(manifest) if manifest.task == "token_classification" else manifest.labels)
        for label, _ in self._items():
            if label not in known:
                raise InvalidRequest(f"thresholds names {label[:64]!r}, which the model does not know")

    def _items(self) -> Sequence[tuple[str, float]]:
        return list((self.by_label or {}).items())


@dataclass(frozen=True, slots=True)
class Entity:
    """A stretch of a text: its type, its start and end in code points, and the mean score of its words' tags."""

    label: str
    start: int
    end: int
    score: float


def score(manifest: Manifest, logits: Floats) -> Floats:
    """The scores of one text's logits, float32 of the same shape; see `Prediction.scores`."""
    if manifest.task == "regression":
        return logits
    if manifest.task == "multi_label":
        sigmoids: Floats = (1 / (1 + np.exp(-np.clip(logits, -80, 80)))).astype(np.float32)
        return sigmoids
    return softmax(logits, manifest.calibration.temperature)


def softmax(logits: Floats, temperature: float) -> Floats:
    """Scores that sum to 1 along the last axis.

    The logits are divided by `temperature` first, which export has fitted so that a score is the chance to be right.
    """
    powers = np.exp((logits - logits.max(axis=-1, keepdims=True)) / np.float32(temperature))
    scores: Floats = powers / powers.sum(axis=-1, keepdims=True)
    return scores


def best(scores: Floats, count: int | None) -> list[int]:
    """Indices of the `count` highest scores (None: of all), highest first; equal scores keep the labels' order."""
    order: list[int] = np.argsort(-scores, kind="stable")[:count].tolist()
    return order


def predicted(manifest: Manifest, scores: Sequence[float], thresholds: Thresholds) -> list[bool]:
    """For each label whether the model decides for it, from one text's scores.

    single_label: the best label, where it reaches its threshold, which is 0 unless the caller sets one. multi_label:
    all that reach theirs. regression: always.
    """
    if manifest.task == "regression":
        return [True]
    if manifest.task == "multi_label":
        limits = map(thresholds.of, manifest.labels, manifest.calibration.thresholds)
        # The manifest's thresholds have two decimals, which float32 scores must not miss by their last bit.
        return [bool(value >= np.float32(limit)) for value, limit in zip(scores, limits, strict=True)]
    top = max(range(len(scores)), key=scores.__getitem__)
    reached = scores[top] >= thresholds.of(manifest.labels[top], 0.0)
    return [index == top and reached for index in range(len(scores))]


def entity_types(manifest: Manifest) -> list[str]:
    """What a model of tags calls entities: the tags' names without B- and I-, each once, in the tags' order."""
    return list(dict.fromkeys(tag[2:] for tag in manifest.labels if tag != _OUTSIDE))


def entities(manifest: Manifest, prediction: Prediction, thresholds: Thresholds) -> list[Entity]:
    """The entities of one text, in its order.

    A word has the tag of its first token. I- of another type than the word before begins an entity too, as it does for
    seqeval's default mode.
    """
    return [each for each in _entities(manifest, prediction) if each.score >= thresholds.of(each.label, 0.0)]


def _entities(manifest: Manifest, prediction: Prediction) -> Iterator[Entity]:
    rows = prediction.scores[[word[0] for word in prediction.words]] if prediction.words else prediction.scores[:0]
    kind, start, end, scores = "", 0, 0, list[float]()
    for row, (_, first, last) in zip(rows, prediction.words, strict=True):
        place = int(row.argmax())
        tag = manifest.labels[place]
        if tag[:2] == "I-" and tag[2:] == kind:
            end = last
            scores.append(float(row[place]))
            continue
        if kind:
            yield Entity(kind, start, end, sum(scores) / len(scores))
        kind, start, end, scores = ("" if tag == _OUTSIDE else tag[2:]), first, last, [float(row[place])]
    if kind:
        yield Entity(kind, start, end, sum(scores) / len(scores))
