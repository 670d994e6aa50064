"""The answers of an earlier output, for --only-new."""

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from bertwire_batch.answers import Kept, Text, key_of
from bertwire_batch.inputs import Inputs
from bertwire_batch.sources import find_sources
from bertwire_core.console import err
from bertwire_core.errors import UserError
from bertwire_data.tables import Batch, TableReader

# Texts of a batch, and per row why it has none, or None.
TextsOf = Callable[[Batch], tuple[list[Text], list[str | None]]]


def earlier_answers(
    path: Path | None,
    sheet: str | None,
    folder: Path,
    check: Callable[[TableReader], None],
    texts_of: TextsOf,
    kept_of: Callable[[TableReader, dict[str, Any]], str | bytes | None],
) -> Iterator[tuple[bytes, Kept]]:
    """Yield the answers of an earlier output, each with the key of its text, and print how many there are.

    Args:
        path: the output, or a folder of outputs; None: there is none.
        sheet: the sheet of Excel files.
        folder: for the plain form of compressed files.
        check: raises `UserError` for a table that is no output of the same kind.
        texts_of: returns the texts of a batch, and per row why it has none.
        kept_of: returns what to keep of a row; None where that was made otherwise. Raises `ValueError` for a row that
            is none of an output.

    Raises:
        UserError: a table or a row is none of an output.
    """
    if path is None:
        return
    count = 0
    for reader, batch, _ in Inputs(find_sources([path], None), None, sheet, "", folder / "earlier").batches():
        check(reader)
        for text, number, row in _rows(batch, texts_of):
            try:
                value = kept_of(reader, row)
            except ValueError as error:
                raise UserError(f"{path}, row {number}: {error}; mend it or leave out --only-new") from None
            if value is not None:
                count += 1
                yield key_of(text), (value, None)
    err.print(f"{count:,} rows of {path} are not asked for again", markup=False, highlight=False, soft_wrap=True)


def _rows(batch: Batch, texts_of: TextsOf) -> Iterable[tuple[Text, int, dict[str, Any]]]:
    """Return the rows with a text, each with it and with its number."""
    texts, faults = texts_of(batch)
    numbered = zip(enumerate(batch.rows, batch.start), faults, strict=True)
    rows = [row for row, fault in numbered if fault is None]
    return [(text, *row) for text, row in zip(texts, rows, strict=True)]
