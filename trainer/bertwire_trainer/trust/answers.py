"""The answers of a model, scored on any of their rows."""

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy
from numpy.typing import NDArray

from bertwire_data.labelled import MAIN_METRIC, Labelled, decisions, score
from bertwire_data.labelled.rows import names_of

# The places of rows in their split.
Places = NDArray[numpy.int64]


class Answers:
    """The answers of a model for one split, to be scored on some of its rows.

    Attributes:
        metric: the main figure of the task.
        labels: the labels that a text is rightly or wrongly given; none for numbers and for tags of words.
    """

    def __init__(self, rows: Labelled, logits: NDArray[Any], targets: NDArray[Any], labels: list[str]) -> None:
        """Decide each row; `targets` and `labels` as for `bertwire_data.labelled.score`."""
        self.metric = MAIN_METRIC[rows.task]
        self._rows, self._labels = rows, labels
        self._logits, self._targets = logits, targets
        decided = decisions(rows.task, logits, labels, rows.words())
        self.labels = [] if rows.by_word or isinstance(decided[0], float) else labels
        self._true, self._found = (self._marks(each) for each in (rows.targets, decided))
        self._starts = numpy.cumsum([0, *(rows.words() or [1] * len(rows))])

    def _marks(self, values: Any) -> NDArray[numpy.bool_]:  # noqa: ANN401 - targets or decisions
        sets = [set(names_of(each)) for each in values]
        return numpy.array([[label in each for label in self.labels] for each in sets], bool)

    def metrics(self) -> dict[str, Callable[[Places, Places], float]]:
        """Return functions of the places of some rows, twice, as MetricFrame calls them: by name, such as `score`.

        With labels also `accuracy`, and for the place of each label `selected 0` and `false positive 0`, which is NaN
        where all rows have the label.
        """
        found: dict[str, Callable[[Places, Places], float]] = {"score": self._score}
        if self.labels:
            found["accuracy"] = self._accuracy
        for label in range(len(self.labels)):
            found[f"selected {label}"] = partial(self._selection_rate, label)
            found[f"false positive {label}"] = partial(self._false_positive_rate, label)
        return found

    def _score(self, places: Places, _: Places) -> float:
        task, words = self._rows.task, self._rows.words()
        rows = numpy.concatenate([numpy.arange(self._starts[each], self._starts[each + 1]) for each in places])
        some = None if words is None else [words[each] for each in places]
        return score(task, self._logits[rows], self._targets[rows], self._labels, some)[self.metric]

    def _accuracy(self, places: Places, _: Places) -> float:
        return float((self._true[places] == self._found[places]).all(axis=1).mean())

    def _selection_rate(self, label: int, places: Places, _: Places) -> float:
        return float(self._found[places, label].mean())

    def _false_positive_rate(self, label: int, places: Places, _: Places) -> float:
        without = places[~self._true[places, label]]
        return float(self._found[without, label].mean()) if len(without) else float("nan")
