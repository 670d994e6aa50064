"""The pieces that a report is made of."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple


class Table(NamedTuple):
    """A table; the first `words` columns hold text, the others figures."""

    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    words: int = 1
    title: str = ""


class Plot(NamedTuple):
    """An image as a `data:` address, and what it shows in words."""

    image: str
    description: str
    large: bool = False


class Marked(NamedTuple):
    """A text whose words have classes of the style sheet, and a line about it."""

    about: str
    words: Sequence[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class Section:
    """One section of the page, in this order.

    Attributes:
        title: its heading.
        remark: what a reader has to know; one paragraph.
        plots: its images.
        tables: its tables.
        texts: its marked texts.
        figures: what report.json says of it: JSON values by name.
    """

    title: str
    remark: str = ""
    plots: Sequence[Plot] = ()
    tables: Sequence[Table] = ()
    texts: Sequence[Marked] = ()
    figures: dict[str, Any] = field(default_factory=dict)


def recorded(title: str, found: Sequence[Mapping[str, Any]], remark: str) -> Section:
    """Return a section with one table of JSON objects of the same names, the first of which is text."""
    columns = [*(found[0] if found else ())]
    return Section(title, remark, tables=[Table(columns, [[shown(row[name]) for name in columns] for row in found])])


def shown(value: Any) -> str:  # noqa: ANN401 - a JSON value
    """Return a value as a cell shows it: four digits of a fraction, nothing for None."""
    if value is None:
        return ""
    return f"{value:.4f}" if isinstance(value, float) else str(value)
