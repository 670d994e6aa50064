"""Open and create tables in the format of a file's ending."""

from collections.abc import Iterable
from pathlib import Path

from bertwire_core.errors import UserError
from bertwire_core.lfs import require_fetched
from bertwire_data.tables.delimited import DelimitedReader
from bertwire_data.tables.encodings import require_utf8
from bertwire_data.tables.jsonl import JsonlReader
from bertwire_data.tables.rows import TableReader, TableWriter

# Excel names the text files that it writes .txt.
_FORMATS = {
    ".csv": "CSV",
    ".txt": "CSV",
    ".tsv": "TSV",
    ".jsonl": "JSONL",
    ".ndjson": "JSONL",
    ".parquet": "Parquet",
    ".xlsx": "Excel",
}


def table_format(path: Path) -> str:
    """Return the format of a table: CSV, TSV, JSONL, Parquet or Excel. Raise `UserError` for another ending."""
    try:
        return _FORMATS[path.suffix.lower()]
    except KeyError:
        raise UserError(f"{path}: cannot tell the format; the name must end in {', '.join(_FORMATS)}") from None


def require_workbook(sheet: str | None, paths: Iterable[Path | None]) -> None:
    """Raise `UserError` where a sheet is named and none of the files has sheets."""
    if sheet is not None and not any(path and table_format(path) == "Excel" for path in paths):
        raise UserError(f"--sheet {sheet} is for .xlsx files; leave it out")


def open_table(path: Path, sheet: str | None = None) -> TableReader:
    """Open a CSV, TSV, JSONL, Parquet or Excel file; use it in a `with` block.

    Args:
        path: the file.
        sheet: the sheet of an Excel file; None: the first. Other formats have none.

    Raises:
        UserError: the file is missing, empty, not fetched by Git LFS, of another kind or encoding, or names a column
            twice; a workbook has no such sheet.
        ModuleNotFoundError: the file is Parquet or Excel, and pyarrow or openpyxl is not installed.
    """
    kind = table_format(path)
    if not path.is_file():
        raise UserError(f"{path}: no such file")
    if path.stat().st_size == 0:
        raise UserError(f"{path} is empty")
    require_fetched(path)
    if kind == "Parquet":
        from bertwire_data.tables.parquet import ParquetReader

        return ParquetReader(path)
    if kind == "Excel":
        from bertwire_data.tables.xlsx import XlsxReader

        return XlsxReader(path, sheet)
    if kind == "JSONL":
        require_utf8(path)
        return JsonlReader(path)
    return DelimitedReader(path, quoted=kind == "CSV")


def create_table(path: Path, like: TableReader, added: dict[str, type]) -> TableWriter:
    """Create a table of the format of `like` at `path`, whatever its ending.

    Args:
        path: the file to write.
        like: the table whose rows will be written.
        added: the added columns with the type of their values: str, float, bool, int, or dict and list, which are
            JSON in JSONL and its text elsewhere.

    Raises:
        UserError: an added column has the name of a column of `like`. Where rows each have their own columns (JSONL),
            `write` raises it.
    """
    require_new(like.columns, added)
    return like.writer(path, added)


def require_new(columns: Iterable[str] | None, added: Iterable[str]) -> None:
    """Raise `UserError` where an added column has the name of one of a table's columns."""
    if twice := sorted(set(added) & set(columns or [])):
        raise UserError(f"the input has a column {twice[0]!r} already; choose another --prefix or rename that column")
