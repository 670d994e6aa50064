"""Logits to scores, scores to labels and entities."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from math import exp
from operator import ge

import numpy as np
from numpy.typing import NDArray

from bertwire_data.labelled import OUTSIDE, spans
from bertwire_runtime.bundle import Manifest
from bertwire_server.errors import InvalidRequest
from bertwire_server.query import Prediction, Thresholds

Floats = NDArray[np.float32]
# Up to so many labels plain Python is faster than arrays.
_FEW = 20
# Logits are cut here: their sigmoids are as good as 0 or 1, and further away `exp` overflows.
_FAR = 80.0


@dataclass(frozen=True, slots=True)
class Entity:
    """A stretch of a text: its type, its start and end in code points, and the mean score of its words' tags."""

    label: str
    start: int
    end: int
    score: float


def require_fitting(thresholds: Thresholds, manifest: Manifest) -> None:
    """Raises `InvalidRequest` where a threshold is no score, or names a label that the model does not have."""
    if not thresholds:
        return
    if manifest.task == "regression":
        raise InvalidRequest("the model gives a number, which no threshold applies to; send none")
    if thresholds.all is not None and not 0 <= thresholds.all <= 1:
        raise InvalidRequest(f"threshold is {thresholds.all}; a score lies in 0 to 1")
    known = set(entity_types(manifest) if manifest.task == "token_classification" else manifest.labels)
    for label, value in thresholds.by_label.items():
        if label not in known:
            raise InvalidRequest(f"thresholds names {label[:64]!r}, which the model does not know")
        if not 0 <= value <= 1:
            raise InvalidRequest(f"thresholds[{label[:64]!r}] is {value}; a score lies in 0 to 1")


def score(manifest: Manifest, logits: Floats) -> Floats:
    """The scores of one text's logits, float32 of the same shape; see `Prediction.scores`.

    The logits of single_label are divided by the temperature first, which export has fitted so that a score is the
    chance to be right.
    """
    if manifest.task == "regression":
        return logits
    if manifest.task == "multi_label":
        return _sigmoids(logits)
    if logits.ndim == 1 and len(logits) <= _FEW:
        return _softmax_of_few(logits.tolist(), manifest.calibration.temperature)
    return _softmax(logits, manifest.calibration.temperature)


def _sigmoids(logits: Floats) -> Floats:
    if len(logits) <= _FEW:
        return np.array([1 / (1 + exp(-min(max(value, -_FAR), _FAR))) for value in logits.tolist()], np.float32)
    sigmoids: Floats = (1 / (1 + np.exp(-np.clip(logits, -_FAR, _FAR)))).astype(np.float32)
    return sigmoids


def _softmax_of_few(logits: list[float], temperature: float) -> Floats:
    highest = max(logits)
    powers = [exp((value - highest) / temperature) for value in logits]
    total = sum(powers)
    return np.array([power / total for power in powers], np.float32)


def _softmax(logits: Floats, temperature: float) -> Floats:
    # In float64, where no difference of float32 numbers overflows.
    wide = logits.astype(np.float64)
    powers = np.exp((wide - wide.max(axis=-1, keepdims=True)) / temperature)
    scores: Floats = (powers / powers.sum(axis=-1, keepdims=True)).astype(np.float32)
    return scores


def best(scores: Floats, count: int | None) -> list[int]:
    """Indices of the `count` highest scores (None: of all), highest first; equal scores keep the labels' order."""
    values = scores.tolist()
    if count == 1:
        return [values.index(max(values))]
    return sorted(range(len(values)), key=values.__getitem__, reverse=True)[:count]


def predicted(manifest: Manifest, scores: Sequence[float], thresholds: Thresholds) -> list[bool]:
    """For each label whether the model decides for it, from one text's scores.

    single_label: the best label, where it reaches its threshold, which is 0 unless the caller sets one. multi_label:
    all that reach theirs. regression: always.
    """
    if manifest.task == "regression":
        return [True]
    if manifest.task == "multi_label":
        limits = _as_float32(manifest.calibration.thresholds)
        if thresholds:
            limits = tuple(map(thresholds.of, manifest.labels, limits))
        return list(map(ge, scores, limits))
    chosen = [False] * len(scores)
    top = scores.index(max(scores))
    chosen[top] = scores[top] >= thresholds.of(manifest.labels[top], 0.0)
    return chosen


@lru_cache(maxsize=64)
def _as_float32(thresholds: tuple[float, ...]) -> tuple[float, ...]:
    """The manifest's thresholds, of two decimals, as float32 scores come: none may be missed by a last bit."""
    return tuple(np.array(thresholds, np.float32).tolist())


def entity_types(manifest: Manifest) -> list[str]:
    """What a model of tags calls entities: the tags' names without B- and I-, each once, in the tags' order."""
    return list(dict.fromkeys(tag[2:] for tag in manifest.labels if tag != OUTSIDE))


def entities(manifest: Manifest, prediction: Prediction, thresholds: Thresholds) -> list[Entity]:
    """The entities of one text, in its order.

    A word has the tag of its first token; tags become entities as in the figures of the bundle. The score is the mean
    of the words' tags.
    """
    return [each for each in _entities(manifest, prediction) if each.score >= thresholds.of(each.label, 0.0)]


def _entities(manifest: Manifest, prediction: Prediction) -> Iterator[Entity]:
    words = prediction.words
    if not words:
        return
    rows = prediction.scores[[word[0] for word in words]]
    chances = rows.max(axis=-1).tolist()
    for kind, start, end in spans(manifest.labels[place] for place in rows.argmax(axis=-1).tolist()):
        yield Entity(kind, words[start][1], words[end - 1][2], sum(chances[start:end]) / (end - start))
