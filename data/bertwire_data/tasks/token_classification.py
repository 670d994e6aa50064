"""Rows with an IOB2 tag for each word."""

from collections.abc import Collection, Iterable, Sequence
from typing import TYPE_CHECKING, Any

from bertwire_core.tags import NONE, OUTSIDE, paired
from bertwire_data.columns import LABEL, TEXT, WORDS, Columns
from bertwire_data.tasks.base import Input, Metrics, Target
from bertwire_data.tasks.cells import Row, read_tags, read_words
from bertwire_data.tasks.label_names import natural_order

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from bertwire_data.labelled.survey import Survey


class TokenClassification:
    """An IOB2 tag for each word of a text."""

    label_column = "tags"
    metrics: Metrics = (("f1", "entity F1"), ("precision", "entity precision"), ("recall", "entity recall"))
    by_word = True

    def matches(self, survey: "Survey", columns: Columns) -> bool:
        """Return whether lists of words stand beside tags: in `tags`, or as lists in the chosen label column."""
        if columns.label is not None:
            text = WORDS if columns.text == TEXT and not survey.has(TEXT) else columns.text
            return survey.holds_lists(columns.label) and survey.holds_lists(text)
        words = self.columns(columns, survey.present).text
        tagged = not survey.has(columns.text, LABEL) and survey.has(words, self.label_column)
        return tagged and (words != TEXT or survey.holds_lists(TEXT))

    def columns(self, chosen: Columns, present: Collection[str]) -> Columns:
        """Return the columns to read; words are in `tokens` unless another column is chosen."""
        label = self.label_column if chosen.label is None else chosen.label
        words = WORDS if chosen.text == TEXT and (WORDS in present or TEXT not in present) else chosen.text
        return Columns(words, None, label)

    def read_input(self, row: Row, columns: Columns, *, delimited: bool) -> Input:
        """Return the words."""
        return read_words(row, columns.text, delimited=delimited)

    def read_target(self, value: object, column: str, *, delimited: bool) -> Target:
        """Return the tags."""
        return read_tags(value, column, delimited=delimited)

    def encode(self, targets: Sequence[list[str]], ids: dict[str, int]) -> "NDArray[Any]":
        """Return int64 [words of all texts], in order."""
        import numpy

        return numpy.fromiter((ids[tag] for tags in targets for tag in tags), numpy.int64)

    def decide(
        self,
        logits: "NDArray[Any]",
        labels: list[str],
        words: list[int] | None,
        thresholds: Sequence[float] | None,  # noqa: ARG002 - of the interface
    ) -> list[Any]:
        """Return the tags with the largest logits of each text's words."""
        return _by_text([labels[index] for index in logits.argmax(axis=-1)], words)

    def score(
        self,
        logits: "NDArray[Any]",
        targets: "NDArray[Any]",
        labels: list[str],
        words: list[int] | None,
        thresholds: Sequence[float] | None,
    ) -> dict[str, float]:
        """Return F1, precision and recall of whole entities."""
        true = _by_text([labels[index] for index in targets], words)
        return _entity_scores(true, self.decide(logits, labels, words, thresholds))

    def order(self, names: Iterable[str]) -> list[str]:
        """Return `O`, then `B-X` and, where it occurs, `I-X` for each type X in natural order."""
        distinct = set(names)
        types = natural_order(tag[2:] for tag in distinct - {OUTSIDE})
        tags = [tag for kind in types for tag in (f"B-{kind}", f"I-{kind}")]
        return [OUTSIDE, *(tag for tag in tags if tag[0] == "B" or tag in distinct)]


def outside_row(labels: list[str]) -> "NDArray[Any]":
    """Return logits, float32 [labels], that decide `O`, for a word that was cut off and has no logits of its own."""
    import numpy

    row = numpy.zeros(len(labels), numpy.float32)
    row[labels.index(OUTSIDE)] = 1
    return row


def _by_text(tags: list[str], words: list[int] | None) -> list[list[str]]:
    if words is None:
        raise TypeError("token classification needs the number of words of each text")
    if sum(words) != len(tags):
        raise ValueError(f"{len(tags)} rows of logits for {sum(words)} words")
    each = iter(tags)
    return [[next(each) for _ in range(count)] for count in words]


def _entity_scores(true: list[list[str]], predicted: list[list[str]]) -> dict[str, float]:
    ours, theirs = paired(true, predicted)
    right = sum(one == other for one, other in zip(ours, theirs, strict=True))
    there, found = (sum(kind != NONE for kind in side) for side in (ours, theirs))
    return {
        "f1": 2 * right / (there + found) if right else 0.0,
        "precision": right / found if right else 0.0,
        "recall": right / there if right else 0.0,
    }
