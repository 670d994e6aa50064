"""Which labels were given, told to an observer in microseconds a text: not by the thresholds of a request, but by the
model's own, so that the shares of labels can be compared over time.
"""

import numpy as np

from bertwire_runtime.bundle import Manifest
from bertwire_server.model.decision import Floats, entity_types
from bertwire_server.model.observer import Observer
from bertwire_server.query import Prediction

# With it a tag begins an entity.
_BEGIN = "B-"


def labels_given(manifest: Manifest) -> tuple[str, ...]:
    """The labels that `Given` can tell of a model."""
    if manifest.task == "regression":
        return ()
    return tuple(entity_types(manifest)) if manifest.task == "token_classification" else tuple(manifest.labels)


class Given:
    """Tells an observer the labels of predictions.

    single_label: the best label. multi_label: each that reaches its threshold. token_classification: the type of each
    entity, with the score of its first word; one that begins with I- is left out. regression: nothing.
    """

    def __init__(self, manifest: Manifest, observer: Observer) -> None:
        self._observer, self._task = observer, manifest.task
        by_token = manifest.task == "token_classification"
        self._names = [label.removeprefix(_BEGIN) for label in manifest.labels] if by_token else list(manifest.labels)
        self._begins = np.array([label.startswith(_BEGIN) for label in manifest.labels])
        self._thresholds = np.array(manifest.calibration.thresholds, np.float32)

    def tell(self, prediction: Prediction) -> None:
        """Tells the labels of one text."""
        scores = prediction.scores
        if self._task == "single_label":
            best = int(scores.argmax())
            self._observer.predicted(self._names[best], float(scores[best]))
        elif self._task == "multi_label":
            for place in np.flatnonzero(scores >= self._thresholds).tolist():
                self._observer.predicted(self._names[place], float(scores[place]))
        elif self._task == "token_classification" and prediction.words:
            self._tell_entities(scores[[word[0] for word in prediction.words]])

    def _tell_entities(self, rows: Floats) -> None:
        tags = rows.argmax(axis=1)
        for word in np.flatnonzero(self._begins[tags]).tolist():
            tag = int(tags[word])
            self._observer.predicted(self._names[tag], float(rows[word, tag]))
