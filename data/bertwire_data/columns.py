"""Names of the columns that labelled rows are read from."""

from dataclasses import dataclass

TEXT, TEXT_PAIR, WORDS, LABEL = "text", "text_pair", "tokens", "label"


@dataclass(frozen=True, slots=True)
class Columns:
    """Names of columns.

    Attributes:
        text: the text; for token classification the words, where the default means `tokens` if there is such a column.
        text_pair: the second text; None: `text_pair` if there is such a column.
        label: the label, labels, tags or number; None: the task's own (`TaskRows.label_column`).
    """

    text: str = TEXT
    text_pair: str | None = None
    label: str | None = None
