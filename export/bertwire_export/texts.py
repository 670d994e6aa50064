"""The labelled texts that variants are proven on."""

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bertwire_client.errors import UserError
from bertwire_client.tables import open_table
from bertwire_export.bundle import Split


@dataclass(frozen=True, slots=True)
class LabelledTexts:
    """Texts with the index of each one's true label.

    Attributes:
        source: the file's name.
        texts: the texts in file order.
        labels: for each, the index of its label.
    """

    source: str
    texts: list[str]
    labels: list[int]

    def split(self) -> Split:
        """The manifest's entry for these texts."""
        rows = json.dumps([self.texts, self.labels], ensure_ascii=False, separators=(",", ":"))
        digest = hashlib.sha256(rows.encode()).hexdigest()
        return Split(source=self.source, texts=len(self.texts), sha256=digest)


def read_texts(path: Path, text_column: str, label_column: str, labels: list[str]) -> LabelledTexts:
    """Reads a table of labelled texts.

    Raises:
        UserError: the file or a column is missing, a row is unreadable or blank, a label is not one of `labels`.
    """
    index = {label: number for number, label in enumerate(labels)}
    texts, numbers = [], []
    for where, row in _rows(path):
        text, label = _cell(where, row, text_column), _cell(where, row, label_column)
        if label not in index:
            raise UserError(f"{where}: label {label!r} is none of the model's {len(labels)} labels")
        texts.append(text)
        numbers.append(index[label])
    if not texts:
        raise UserError(f"{path} has no rows; the gate needs labelled texts")
    return LabelledTexts(path.name, texts, numbers)


def _rows(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    reader = open_table(path)
    try:
        for batch in reader.batches(1024):
            for number, (row, fault) in enumerate(zip(batch.rows, batch.errors, strict=True), batch.start):
                if fault is not None:
                    raise UserError(f"{path} row {number}: {fault}")
                yield f"{path} row {number}", row
    finally:
        reader.close()


def _cell(where: str, row: dict[str, Any], column: str) -> str:
    if column not in row:
        raise UserError(f"{where} has no column {column!r}; it has {', '.join(map(repr, row))}")
    value = row[column]
    if value is None or value != value or not str(value).strip():
        raise UserError(f"{where}: {column} is empty; remove the row or fill it")
    return str(value)
