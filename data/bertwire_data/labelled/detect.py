"""Finds out from the rows which columns there are and which task they are labelled for."""

from collections.abc import Iterable
from dataclasses import dataclass, field

from bertwire_core.tasks import Task
from bertwire_data.labelled.cells import as_list, as_number, is_null
from bertwire_data.labelled.kinds import TEXT, WORDS, Columns
from bertwire_data.tables import Batch


@dataclass(slots=True)
class _Values:
    """What a column was seen to hold."""

    lists: bool = False
    fractions: bool = False
    others: bool = False

    def add(self, value: object, delimited: bool) -> None:
        number = as_number(value, delimited=delimited)
        if number is not None:
            self.fractions |= not number.is_integer()
        elif as_list(value, delimited=delimited) is not None:
            self.lists = True
        elif not is_null(value, delimited=delimited):
            self.others = True


@dataclass(slots=True)
class Survey:
    """A first look at a table.

    Attributes:
        present: the columns that occur, in the order of their first row.
        delimited: whether values are strings of a CSV or TSV file.
    """

    present: dict[str, None]
    delimited: bool
    _values: dict[str, _Values] = field(default_factory=dict)

    def add(self, batches: Iterable[Batch], columns: Columns, task: Task | None) -> None:
        """Looks at every row; the values matter only where the task is not given."""
        watched = {columns.text, WORDS, *(("label", "labels") if columns.label is None else (columns.label,))}
        self._values = {name: _Values() for name in watched}
        for batch in batches:
            for row, error in zip(batch.rows, batch.errors, strict=True):
                self.present.update(dict.fromkeys(row))
                if task is None and error is None:
                    for name in watched & row.keys():
                        self._values[name].add(row[name], self.delimited)

    def task(self, columns: Columns) -> Task:
        """The task of the rows.

        With a chosen label column: lists beside lists of words are tags, other lists are several labels, numbers that
        are not all whole are regression. Without one: the text with `label`, else `tokens` with `tags`, else lists in
        `labels`. Everything else is one label a text.
        """
        label = columns.label
        if label is None and not {columns.text, "label"} <= self.present.keys():
            words = columns.resolved("token_classification", self.present).text
            if {words, "tags"} <= self.present.keys() and (words != TEXT or self._holds_lists(TEXT)):
                return "token_classification"
            if self._holds_lists("labels"):
                return "multi_label"
        elif label is not None and self._holds_lists(label):
            text = WORDS if columns.text == TEXT and TEXT not in self.present else columns.text
            return "token_classification" if self._holds_lists(text) else "multi_label"
        values = self._values[label or "label"]
        return "regression" if values.fractions and not (values.others or values.lists) else "single_label"

    def _holds_lists(self, column: str) -> bool:
        return column in self._values and self._values[column].lists
