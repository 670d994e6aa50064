"""Which texts belong to which group."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy
from numpy.typing import NDArray

from bertwire_data.labelled import Labelled
from bertwire_trainer.trust.terms import Terms, mentions

# The groups of rows without a value in the column, and of texts without any of the terms.
NO_VALUE, NO_TERM = "no value", "no term"


@dataclass(frozen=True, slots=True)
class Grouping:
    """Groups of the texts of one split.

    Attributes:
        by: the column, or the kind of terms.
        members: of each group which texts are in it, bool [texts].
    """

    by: str
    members: dict[str, NDArray[numpy.bool_]]


def groupings(rows: Labelled, columns: Sequence[str], terms: Terms) -> list[Grouping]:
    """Return the groups by each column and by each kind of terms that some text mentions."""
    by_column = [Grouping(column, _of_values(rows.groups[column])) for column in columns]
    by_terms = [Grouping(kind, _of_terms(rows, groups)) for kind, groups in terms.items()]
    return [*by_column, *(each for each in by_terms if len(each.members) > 1)]


def _of_values(values: list[str]) -> dict[str, NDArray[numpy.bool_]]:
    found = numpy.array(values)
    return {name or NO_VALUE: found == name for name in sorted(set(values))}


def _of_terms(rows: Labelled, groups: dict[str, list[str]]) -> dict[str, NDArray[numpy.bool_]]:
    texts = [each if isinstance(each, str) else " ".join(each) for each in rows.inputs]
    found = {name: numpy.array([mentions(text, words) for text in texts]) for name, words in groups.items()}
    none = ~numpy.any([*found.values()], axis=0)
    return {name: each for name, each in (found | {NO_TERM: none}).items() if each.any()}
