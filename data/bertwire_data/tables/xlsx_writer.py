"""Write Excel workbooks by openpyxl, a row at a time."""

import json
from pathlib import Path
from typing import Any

import openpyxl
from openpyxl.cell import WriteOnlyCell
from openpyxl.cell.cell import ERROR_CODES, ILLEGAL_CHARACTERS_RE

from bertwire_core.errors import UserError
from bertwire_data.tables.rows import Batch, TableWriter

# Characters that a cell of Excel holds at most.
_MOST_CHARACTERS = 32_767


class XlsxWriter(TableWriter):
    """A writer of the rows of an `XlsxReader` with columns added: their values, without styles and formulas."""

    def __init__(self, path: Path, sheet: str, header: list[Any], added: list[str]) -> None:
        self._path, self._added, self._width = path, added, len(header)
        self._book = openpyxl.Workbook(write_only=True)
        self._sheet = self._book.create_sheet(sheet)
        self._append([*header, *added], 1)

    def write(self, batch: Batch, added: list[dict[str, Any]]) -> None:
        """Write rows; a short row is filled up, so that the added values stand under their names.

        Raises:
            UserError: a value has more characters than a cell holds.
        """
        for number, (line, values) in enumerate(zip(batch.raw, added, strict=True), batch.start):
            cells = (list(line) + [None] * self._width)[: self._width]
            self._append([*cells, *(_added(values.get(name)) for name in self._added)], number)

    def _append(self, row: list[Any], number: int) -> None:
        self._sheet.append([self._cell(value, number) if isinstance(value, str) else value for value in row])

    def _cell(self, value: str, number: int) -> Any:  # noqa: ANN401 - openpyxl has no types
        if len(value) > _MOST_CHARACTERS:
            raise UserError(
                f"row {number} has {len(value):,} characters for one cell, and Excel's hold {_MOST_CHARACTERS:,}; "
                "use CSV"
            )
        cell = WriteOnlyCell(self._sheet, value)
        if value not in ERROR_CODES:
            # A text that begins with = would be taken for a formula.
            cell.data_type = "s"
        return cell

    def close(self) -> None:
        """Write the workbook."""
        self._book.save(self._path)


def _added(value: Any) -> Any:  # noqa: ANN401 - whatever a column holds
    plain = json.dumps(value, ensure_ascii=False) if isinstance(value, dict | list) else value
    # An error of a server may hold control characters, which XML has no place for.
    return ILLEGAL_CHARACTERS_RE.sub(" ", plain) if isinstance(plain, str) else plain
