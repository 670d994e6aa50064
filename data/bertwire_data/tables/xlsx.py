"""Read Excel workbooks (.xlsx) by openpyxl, which the `xlsx` extra brings.

A cell is read as the string of its value, so that a label is the same in a workbook and in CSV: 1 and 1.0 are `1`.
Rows are streamed; openpyxl holds the distinct strings of the whole workbook in memory.
"""

import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Any

import openpyxl
from openpyxl.cell.cell import ERROR_CODES
from openpyxl.utils.escape import unescape

from bertwire_core.errors import UserError, first_line
from bertwire_data.tables.rows import Batch, TableReader
from bertwire_data.tables.xlsx_writer import XlsxWriter

# Rows parsed at a time; halved, nothing breaks.
_CHUNK = 1024
_BEYOND = "a value in a column that the header does not name"


class XlsxReader(TableReader):
    """One sheet, whose first row that is not empty names the columns; `position` counts rows.

    Attributes:
        sheet: the sheet's name.
        header: the cells of the header.
    """

    delimited = True

    def __init__(self, path: Path, sheet: str | None) -> None:
        self._path = path
        with _readable(path), _quiet():
            self._book = openpyxl.load_workbook(path, read_only=True, data_only=True)
        try:
            self._sheet = self._chosen(sheet)
            self.size = self._sheet.max_row or 1
            # Some programs write dimensions that are too small, by which cells would be left out.
            self._sheet.reset_dimensions()
            self._rows = self._filled()
            self._position, first = next(self._rows, (0, ()))
            self.header = list(first)
            names = [_string(cell) for cell in self.header]
            self.columns = [name for name in names if name is not None]
            if not self.columns:
                raise UserError(f"{path}: sheet {self.sheet!r} is empty; its first row must name the columns")
            if twice := {name for name in self.columns if self.columns.count(name) > 1}:
                raise UserError(f"{path}: sheet {self.sheet!r} names column {min(twice)!r} twice; rename one")
        except BaseException:
            self.close()
            raise
        self._names = names

    def _chosen(self, sheet: str | None) -> Any:  # noqa: ANN401 - openpyxl has no types
        sheets = {each.title: each for each in self._book.worksheets}
        found = next(iter(sheets), None) if sheet is None else sheet
        if found not in sheets:
            raise UserError(f"{self._path} has no sheet {found!r} but {', '.join(map(repr, sheets))}; see --sheet")
        self.sheet: str = sheets[found].title
        if sheet is None and len(sheets) > 1:
            self.remarks = [f"{self._path}: of {len(sheets)} sheets {found!r} is read; --sheet chooses another"]
        return sheets[found]

    def _filled(self) -> Iterator[tuple[int, tuple[Any, ...]]]:
        """Yield each row that is not empty, with the number that the sheet shows."""
        rows = enumerate(self._sheet.iter_rows(values_only=True), 1)
        while True:
            with _readable(self._path), _quiet():
                chunk = list(islice(rows, _CHUNK))
            if not chunk:
                return
            yield from (each for each in chunk if any(cell is not None for cell in each[1]))

    def batches(self, rows: int) -> Iterator[Batch]:
        """Yield the rows, at most `rows` at a time, without empty rows; after one a new batch begins."""
        for numbered in _consecutive(self._rows, rows):
            lines = [line for _, line in numbered]
            values = [
                {name: _string(cell) for name, cell in zip(self._names, line, strict=False) if name is not None}
                for line in lines
            ]
            faults = [_BEYOND if any(cell is not None for cell in line[len(self.header) :]) else None for line in lines]
            self._position = numbered[-1][0]
            yield Batch(numbered[0][0], values, faults, lines)
        self._position = self.size

    def position(self) -> int:
        """Return the rows read so far."""
        return min(self._position, self.size)

    def writer(self, path: Path, added: dict[str, type]) -> XlsxWriter:
        """Create a workbook with one sheet, of the same name, for rows of this one."""
        return XlsxWriter(path, self.sheet, self.header, list(added))

    def close(self) -> None:
        """Close the file."""
        self._book.close()


def _consecutive(rows: Iterable[tuple[int, Any]], most: int) -> Iterator[list[tuple[int, Any]]]:
    """Split rows where their numbers leave a gap, and into lists of at most `most`."""
    group: list[tuple[int, Any]] = []
    for number, row in rows:
        if group and (len(group) == most or number != group[-1][0] + 1):
            yield group
            group = []
        group.append((number, row))
    if group:
        yield group


@contextmanager
def _readable(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError:
        raise
    except Exception as error:  # zipfile, the XML parser and openpyxl each raise their own
        raise UserError(
            f"{path} cannot be read as an .xlsx workbook ({first_line(error)}); if it is encrypted or of another kind, "
            "save it again as .xlsx"
        ) from error


@contextmanager
def _quiet() -> Iterator[None]:
    # openpyxl warns of what it does not read, such as styles and validations.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def _string(cell: Any) -> str | None:  # noqa: ANN401 - whatever a cell holds
    """Return a cell as a string; None where it is empty or holds an error of Excel's."""
    if isinstance(cell, str):
        return None if cell in ERROR_CODES else unescape(cell)
    if isinstance(cell, bool):
        return str(cell).lower()
    if isinstance(cell, float) and cell.is_integer():
        return str(int(cell))
    return None if cell is None else str(cell)
