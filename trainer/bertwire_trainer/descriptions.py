"""Descriptions of labels, from a file."""

import json
from collections.abc import Iterable
from pathlib import Path

from bertwire_core.errors import UserError
from bertwire_core.lfs import require_fetched
from bertwire_data.rows import read_rows, table_batches
from bertwire_data.tables import Batch, open_table
from bertwire_data.tasks.cells import Row, read_label, read_text, read_value

_LABEL, _DESCRIPTION = "label", "description"


def read_descriptions(path: Path) -> dict[str, str]:
    """Return the description of each label.

    Args:
        path: a JSON object from labels to descriptions, or a table with the columns `label` and `description`.

    Raises:
        UserError: the file is missing or faulty, has a label twice, or no label.
    """
    batches: Iterable[Batch]
    batches, delimited = (_json_batches(path), False) if path.suffix.lower() == ".json" else _table_batches(path)

    def read(row: Row) -> tuple[str, str]:
        label = read_label(read_value(row, _LABEL, delimited=delimited), _LABEL)
        return label, read_text(row, _DESCRIPTION, delimited=delimited)

    pairs, _ = read_rows(str(path), batches, read)
    if not pairs:
        raise UserError(f"{path} describes no label")
    labels = [label for label, _ in pairs]
    if twice := next((label for label in labels if labels.count(label) > 1), None):
        raise UserError(f"{path} describes label {twice!r} more than once; keep one")
    return dict(pairs)


def _json_batches(path: Path) -> list[Batch]:
    if not path.is_file():
        raise UserError(f"{path}: no such file")
    require_fetched(path)
    try:
        pairs = json.loads(path.read_bytes(), object_pairs_hook=list)
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path} is not JSON: {error}") from error
    if not isinstance(pairs, list) or not all(isinstance(each, tuple) for each in pairs):
        raise UserError(f"{path} must be a JSON object from each label to its description")
    rows = [{_LABEL: label, _DESCRIPTION: text} for label, text in pairs]
    return [Batch(1, rows, [None] * len(rows), None)]


def _table_batches(path: Path) -> tuple[Iterable[Batch], bool]:
    with open_table(path) as reader:
        present, delimited = reader.columns, reader.delimited
    if present is not None and (absent := {_LABEL, _DESCRIPTION}.difference(present)):
        raise UserError(f"{path} has no column {min(absent)!r}; it needs {_LABEL} and {_DESCRIPTION}")
    return table_batches(path), delimited
