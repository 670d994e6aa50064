"""The interface of a task's rows, and what the tasks that read whole texts have in common."""

from collections.abc import Collection, Iterable, Sequence
from typing import TYPE_CHECKING, Any, Protocol

from bertwire_data.columns import LABEL, TEXT_PAIR, Columns
from bertwire_data.tasks.cells import Row, read_text
from bertwire_data.tasks.label_names import natural_order

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from bertwire_data.labelled.survey import Survey

Input = str | tuple[str, str] | list[str]
Target = str | list[str] | float
Metrics = tuple[tuple[str, str], ...]


class TaskRows(Protocol):
    """The interface by which rows of a task are recognized, read, encoded, decided and scored. Stateless.

    Attributes:
        label_column: the column of the label where none is chosen.
        metrics: the scores of `score`, each with its name in print; the first one chooses between models.
        by_word: whether an input is a list of words with a target for each, else a text or a pair of texts.
    """

    label_column: str
    metrics: Metrics
    by_word: bool

    def matches(self, survey: "Survey", columns: Columns) -> bool:
        """Return whether the surveyed rows look as if they were labelled for this task."""

    def columns(self, chosen: Columns, present: Collection[str]) -> Columns:
        """Return the columns to read from a table with the columns `present`; its `label` is never None."""

    def read_input(self, row: Row, columns: Columns, *, delimited: bool) -> Input:
        """Return the text, the pair of texts or the words of a row. Raise `Fault` where there is none."""

    def read_target(self, value: object, column: str, *, delimited: bool) -> Target:
        """Return the label, labels, tags or number in a cell. Raise `Fault` where it holds none."""

    def encode(self, targets: Sequence[Any], ids: dict[str, int]) -> "NDArray[Any]":
        """Return targets as numbers, label names by `ids`; see `encode_targets`."""

    def decide(
        self, logits: "NDArray[Any]", labels: list[str], words: list[int] | None, thresholds: Sequence[float] | None
    ) -> list[Any]:
        """Return the decision for each text; see `decisions`."""

    def score(
        self,
        logits: "NDArray[Any]",
        targets: "NDArray[Any]",
        labels: list[str],
        words: list[int] | None,
        thresholds: Sequence[float] | None,
    ) -> dict[str, float]:
        """Return the scores of logits against encoded targets, by metric; see `score`."""

    def order(self, names: Iterable[str]) -> list[str]:
        """Return the distinct label names in the model's order."""


class TextRows:
    """Rows whose input is a text or a pair of texts."""

    label_column = LABEL
    by_word = False

    def columns(self, chosen: Columns, present: Collection[str]) -> Columns:
        """Return the columns to read, with the second text where the table has one."""
        label = self.label_column if chosen.label is None else chosen.label
        text_pair = TEXT_PAIR if chosen.text_pair is None and TEXT_PAIR in present else chosen.text_pair
        return Columns(chosen.text, text_pair, label)

    def read_input(self, row: Row, columns: Columns, *, delimited: bool) -> Input:
        """Return the text or the pair of texts."""
        text = read_text(row, columns.text, delimited=delimited)
        if columns.text_pair is None:
            return text
        return text, read_text(row, columns.text_pair, delimited=delimited)

    def order(self, names: Iterable[str]) -> list[str]:
        """Return the distinct names in natural order."""
        return natural_order(names)
