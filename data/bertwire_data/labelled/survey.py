"""Survey a table: which columns occur, and what kinds of values they hold."""

from collections.abc import Collection, Iterable
from dataclasses import dataclass, field

from bertwire_data.tables import Batch
from bertwire_data.tasks.cells import as_list, as_number, is_null


@dataclass(slots=True)
class _Kinds:
    """The kinds of values seen in a column."""

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
    """A first pass over a table, before its rows are read.

    Attributes:
        present: the columns that occur, in the order of their first row.
        delimited: see `TableReader`.
    """

    present: dict[str, None]
    delimited: bool
    _kinds: dict[str, _Kinds] = field(default_factory=dict)

    def add(self, batches: Iterable[Batch], watched: Collection[str]) -> None:
        """Add every row: its columns, and the kinds of its values in the `watched` columns."""
        self._kinds = {name: _Kinds() for name in watched}
        for batch in batches:
            for row, error in zip(batch.rows, batch.errors, strict=True):
                self.present.update(dict.fromkeys(row))
                if error is None:
                    for name in self._kinds.keys() & row.keys():
                        self._kinds[name].add(row[name], self.delimited)

    def has(self, *columns: str) -> bool:
        """Return whether all of these columns occur."""
        return self.present.keys() >= set(columns)

    def holds_lists(self, column: str) -> bool:
        """Return whether a watched column holds a list."""
        return column in self._kinds and self._kinds[column].lists

    def holds_fractions(self, column: str) -> bool:
        """Return whether a watched column holds numbers alone, one of them with a fraction."""
        kinds = self._kinds.get(column, _Kinds())
        return kinds.fractions and not (kinds.others or kinds.lists)
