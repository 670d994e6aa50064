"""Open and create tables in the format of a file's ending."""

import codecs
import re
from pathlib import Path

from bertwire_core.errors import UserError
from bertwire_core.lfs import require_fetched
from bertwire_data.tables.delimited import DelimitedReader
from bertwire_data.tables.jsonl import JsonlReader
from bertwire_data.tables.rows import TableReader, TableWriter

_FORMATS = {".csv": "CSV", ".tsv": "TSV", ".jsonl": "JSONL", ".ndjson": "JSONL", ".parquet": "Parquet"}
# The byte order marks of other encodings, that of UTF-32 before that of UTF-16, which begins it; without one, the zero
# that is half of every ASCII character.
_OTHERS = (
    (codecs.BOM_UTF32_LE + b"|" + codecs.BOM_UTF32_BE, "UTF-32"),
    (codecs.BOM_UTF16_LE + b"|" + codecs.BOM_UTF16_BE, "UTF-16"),
    (rb"[^\0]\0[^\0]", "UTF-16LE"),
    (rb"\0[^\0]\0", "UTF-16BE"),
)


def table_format(path: Path) -> str:
    """Return the format of a table: CSV, TSV, JSONL or Parquet. Raise `UserError` for another ending."""
    try:
        return _FORMATS[path.suffix.lower()]
    except KeyError:
        raise UserError(f"{path}: cannot tell the format; the name must end in {', '.join(_FORMATS)}") from None


def open_table(path: Path) -> TableReader:
    """Open a CSV, TSV, JSONL or Parquet file; use it in a `with` block.

    Raises:
        UserError: the file is missing, empty, not fetched by Git LFS, of another kind or not in UTF-8, or names a
            column twice.
        ModuleNotFoundError: the file is Parquet, and pyarrow is not installed.
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
    _require_utf8(path)
    return JsonlReader(path) if kind == "JSONL" else DelimitedReader(path, "," if kind == "CSV" else "\t")


def _require_utf8(path: Path) -> None:
    with path.open("rb") as file:
        start = file.read(4)
    if found := next((name for pattern, name in _OTHERS if re.match(pattern, start, re.DOTALL)), None):
        raise UserError(
            f"{path} is {found} and must be UTF-8; convert it: "
            f"iconv -f {found} -t UTF-8 {path.name} > {path.stem}-utf8{path.suffix}"
        )


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
    if twice := sorted(set(added) & set(like.columns or [])):
        raise UserError(f"the input has a column {twice[0]!r} already; choose another --prefix or rename that column")
    return like.writer(path, added)
