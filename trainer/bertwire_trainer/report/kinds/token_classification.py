"""The report of a tag a word."""

from collections.abc import Iterator
from typing import Any

import numpy
from numpy.typing import NDArray

from bertwire_core.tags import NONE, paired
from bertwire_data.labelled import Labelled, decisions, label_order, outside_row
from bertwire_data.pages.figures import Figures, of_classes
from bertwire_trainer.report.kinds.base import Case, Confidence, Doubts, Logits, probabilities

# Words that a mistake is shown with on either side. With half as many a reader cannot judge it.
_AROUND = 8


class TokenClassification:
    """An IOB2 tag a word, scored by entities."""

    score = "probability"

    def figures(self, rows: Labelled, logits: Logits, targets: NDArray[Any], labels: list[str]) -> Figures:
        """Return the confusion of the tags, and the scores of each type of entity."""
        from sklearn.metrics import precision_recall_fscore_support

        exact = numpy.eye(len(labels))[targets]
        true, found = paired(*(decisions(rows.task, each, labels, rows.words()) for each in (exact, logits)))
        kinds = label_order({*true, *found} - {NONE})
        per_kind = []
        if kinds:
            scores = precision_recall_fscore_support(true, found, labels=kinds, zero_division=0)
            per_kind = [
                (name, float(p), float(r), float(f1), int(n)) for name, p, r, f1, n in zip(kinds, *scores, strict=True)
            ]
        return Figures(of_classes(targets, logits.argmax(axis=1), labels).confusion, per_kind)

    def confidence(self, logits: Logits, targets: NDArray[Any], labels: list[str]) -> Confidence | None:
        """Return the probability of the best tag of each word that was not cut off, and whether it is the target."""
        read = _read(logits, labels)
        return probabilities(logits[read]).max(axis=1), (logits.argmax(axis=1) == targets)[read]

    def cases(
        self, rows: Labelled, logits: Logits, targets: NDArray[Any], labels: list[str], *, right: bool
    ) -> Iterator[Case]:
        """Yield the words whose best tag is, or is not, the target."""
        scores, decided = probabilities(logits).max(axis=1), logits.argmax(axis=1)
        chosen = numpy.flatnonzero(((decided == targets) == right) & _read(logits, labels))
        ends = numpy.cumsum(rows.words() or ())
        for at in chosen[numpy.argsort(-scores[chosen], kind="stable")].tolist():
            place = int(numpy.searchsorted(ends, at, side="right"))
            words = rows.inputs[place]
            text = _around(list(words), at - int(ends[place]) + len(words))
            yield Case(place, text, labels[targets[at]], labels[decided[at]], float(scores[at]), int(decided[at]))

    def doubts(self, logits: Logits, targets: NDArray[Any], labels: list[str]) -> Doubts:
        """Refuse: the vectors are of whole texts."""
        raise NotImplementedError

    def joined(self, one: Logits, other: Logits) -> Logits:
        """Refuse, as `doubts` does."""
        raise NotImplementedError

    def fit(self, inputs: Any, targets: NDArray[Any], labels: list[str]) -> Any:  # noqa: ANN401
        """Refuse: a bag of words has no place for the tag of one."""
        raise NotImplementedError


def _around(words: list[str], place: int) -> str:
    before, after = words[max(0, place - _AROUND) : place], words[place + 1 : place + 1 + _AROUND]
    return " ".join([*before, f"[{words[place]}]", *after])


def _read(logits: Logits, labels: list[str]) -> NDArray[numpy.bool_]:
    """Return which words were not cut off, bool [words]."""
    read: NDArray[numpy.bool_] = (logits != outside_row(labels)).any(axis=1)
    return read
