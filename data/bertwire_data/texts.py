"""Read texts without labels into memory."""

from pathlib import Path

from bertwire_core.errors import UserError
from bertwire_core.lfs import require_fetched
from bertwire_data.rows import read_rows, table_batches
from bertwire_data.tables import open_table
from bertwire_data.tasks.cells import read_text


def read_texts(path: Path, column: str, option: str) -> list[str]:
    """Read the texts in a column of a CSV, TSV, JSONL or Parquet file, or the lines of a .txt file that are not blank.

    Args:
        path: the file.
        column: the column of a table.
        option: the option that chooses the column, for messages.

    Raises:
        UserError: the file or the column is missing, it has no texts, or rows are faulty (all of them in one line).
    """
    texts = _lines(path) if path.suffix.lower() == ".txt" else _column(path, column, option)
    if not texts:
        raise UserError(f"{path} has no texts")
    return texts


def _lines(path: Path) -> list[str]:
    if not path.is_file():
        raise UserError(f"{path}: no such file")
    require_fetched(path)
    try:
        # Not splitlines, which ends a line at characters of Unicode that a text may hold.
        lines = path.read_text(encoding="utf-8-sig").split("\n")
    except UnicodeDecodeError as error:
        raise UserError(f"{path} is not UTF-8; convert it with iconv") from error
    return [text for line in lines if (text := line.strip())]


def _column(path: Path, column: str, option: str) -> list[str]:
    with open_table(path) as reader:
        present, delimited = reader.columns, reader.delimited
    if present is not None and column not in present:
        shown = ", ".join(map(repr, present))
        raise UserError(f"{path} has no column {column!r}; it has {shown}: choose with {option}")
    texts, _ = read_rows(str(path), table_batches(path), lambda row: read_text(row, column, delimited=delimited))
    return texts
