"""Excel workbooks: what comes in, what goes out."""

import datetime
import zipfile
from pathlib import Path
from typing import Any

import openpyxl
import pytest

from bertwire_core.errors import UserError
from bertwire_data.labelled import Columns, read_labelled
from bertwire_data.tables import create_table, open_table

_MAIN = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
_LINKS = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
_PACKAGE = "http://schemas.openxmlformats.org/package/2006"
_TYPE = "application/vnd.openxmlformats-officedocument.spreadsheetml"
_STRINGS = ["text", "label", "n", "a_x000D_\nb", "=) lol"]
# A workbook as other programs write them: shared strings, escapes, wrong dimensions, a formula with its value, an
# error, a whole number as a float, a gap between rows.
_PARTS = {
    "[Content_Types].xml": f'''<Types xmlns="{_PACKAGE}/content-types">
<Default Extension="rels" ContentType="application/vnd.openxmlformats-package.relationships+xml"/>
<Override PartName="/xl/workbook.xml" ContentType="{_TYPE}.sheet.main+xml"/>
<Override PartName="/xl/worksheets/sheet1.xml" ContentType="{_TYPE}.worksheet+xml"/>
<Override PartName="/xl/sharedStrings.xml" ContentType="{_TYPE}.sharedStrings+xml"/>
</Types>''',
    "_rels/.rels": f'''<Relationships xmlns="{_PACKAGE}/relationships">
<Relationship Id="rId1" Type="{_LINKS}/officeDocument" Target="xl/workbook.xml"/></Relationships>''',
    "xl/workbook.xml": f'''<workbook xmlns="{_MAIN}" xmlns:r="{_LINKS}">
<sheets><sheet name="Blad 1" sheetId="1" r:id="rId1"/></sheets></workbook>''',
    "xl/_rels/workbook.xml.rels": f'''<Relationships xmlns="{_PACKAGE}/relationships">
<Relationship Id="rId1" Type="{_LINKS}/worksheet" Target="worksheets/sheet1.xml"/>
<Relationship Id="rId2" Type="{_LINKS}/sharedStrings" Target="sharedStrings.xml"/></Relationships>''',
    "xl/sharedStrings.xml": f'<sst xmlns="{_MAIN}">{"".join(f"<si><t>{each}</t></si>" for each in _STRINGS)}</sst>',
    "xl/worksheets/sheet1.xml": f'''<worksheet xmlns="{_MAIN}"><dimension ref="A1"/><sheetData>
<row r="2"><c r="A2" t="s"><v>0</v></c><c r="B2" t="s"><v>1</v></c><c r="C2" t="s"><v>2</v></c></row>
<row r="3"><c r="A3" t="s"><v>3</v></c><c r="B3"><v>1.0</v></c><c r="C3"><f>1+1</f><v>2</v></c></row>
<row r="5"><c r="A5" t="s"><v>4</v></c><c r="B5"><v>0</v></c><c r="C5" t="e"><v>#NAME?</v></c></row>
<row r="6"><c r="A6" t="inlineStr"><is><t>c</t></is></c><c r="B6" t="b"><v>1</v></c></row>
</sheetData></worksheet>''',
}


@pytest.fixture
def foreign(tmp_path: Path) -> Path:
    """A workbook that openpyxl did not write."""
    path = tmp_path / "foreign.xlsx"
    with zipfile.ZipFile(path, "w") as parts:
        for name, content in _PARTS.items():
            parts.writestr(name, content)
    return path


def workbook(path: Path, **sheets: list[list[Any]]) -> Path:
    book = openpyxl.Workbook()
    book.remove(book.active)
    for name, rows in sheets.items():
        sheet = book.create_sheet(name)
        for row in rows:
            sheet.append(row)
    book.save(path)
    return path


def cells(path: Path) -> list[list[Any]]:
    """The values of a workbook's only sheet, as openpyxl has them."""
    book = openpyxl.load_workbook(path)
    (sheet,) = book.worksheets
    return [[cell.value for cell in row] for row in sheet.iter_rows()]


def scored(path: Path, values: dict[str, Any]) -> Path:
    target = path.with_name("out.xlsx")
    with (
        open_table(path) as table,
        create_table(target, table, {name: type(value) for name, value in values.items()}) as writer,
    ):
        for batch in table.batches(2):
            writer.write(batch, [values] * len(batch.rows))
    return target


def test_cells_become_strings(foreign: Path) -> None:
    """Shared, inline and escaped strings, numbers, booleans and values of formulas; errors are missing values."""
    with open_table(foreign) as table:
        assert (table.columns, list(table.remarks)) == (["text", "label", "n"], [])
        batches = list(table.batches(9))
        assert table.position() == table.size
    assert [row for batch in batches for row in batch.rows] == [
        {"text": "a\r\nb", "label": "1", "n": "2"},
        {"text": "=) lol", "label": "0", "n": None},
        {"text": "c", "label": "true"},
    ]


def test_rows_have_the_numbers_of_the_sheet(foreign: Path) -> None:
    """An error names the row as Excel shows it, whatever lies above or between."""
    labelled = read_labelled(foreign, Columns())
    assert (labelled.targets, labelled.rows) == (["1", "0", "true"], [3, 5, 6])
    with pytest.raises(UserError, match=r"2 rows \(rows 5, 6\): no value in column 'n'"):
        read_labelled(foreign, Columns(label="n"))


def test_a_workbook_is_written_with_its_values(foreign: Path) -> None:
    """Values keep their types, a text that begins with = is no formula, and the sheet keeps its name."""
    out = scored(foreign, {"p": "=1", "q": 0.5, "r": ["é"]})
    assert cells(out) == [
        ["text", "label", "n", "p", "q", "r"],
        ["a_x000D_\nb", 1, 2, "=1", 0.5, '["é"]'],
        ["=) lol", 0, "#NAME?", "=1", 0.5, '["é"]'],
        ["c", True, None, "=1", 0.5, '["é"]'],
    ]
    sheet = openpyxl.load_workbook(out)["Blad 1"]
    assert [sheet[place].data_type for place in ("A3", "D2", "C3")] == ["s", "s", "e"]
    with open_table(out) as table:
        assert next(iter(table.batches(9))).rows[1]["text"] == "=) lol"


def test_dates_come_back(tmp_path: Path) -> None:
    """A date is read as text and written as a date; control characters of an error become spaces."""
    day = datetime.datetime(2024, 1, 2)  # noqa: DTZ001 - Excel has no zones
    path = workbook(tmp_path / "a.xlsx", A=[["text", "day"], ["x", day]])
    with open_table(path) as table:
        assert next(iter(table.batches(9))).rows == [{"text": "x", "day": "2024-01-02 00:00:00"}]
    assert cells(scored(path, {"p": "a\x0bb"})) == [["text", "day", "p"], ["x", day, "a b"]]


def test_a_sheet_can_be_named(tmp_path: Path) -> None:
    """The first is read unless another is named; where there are several that is said."""
    path = workbook(tmp_path / "a.xlsx", One=[["text"], ["x"]], Two=[["text"], ["y"]])
    with open_table(path) as table:
        assert list(table.remarks) == [f"{path}: of 2 sheets 'One' is read; --sheet chooses another"]
    with open_table(path, "Two") as table:
        assert (list(table.remarks), next(iter(table.batches(1))).rows) == ([], [{"text": "y"}])
    with pytest.raises(UserError, match=r"a.xlsx has no sheet 'two' but 'One', 'Two'; see --sheet"):
        open_table(path, "two")


def test_values_beside_the_table(tmp_path: Path) -> None:
    """A column without a name is not read but kept; a value beyond the header is a fault of its row."""
    path = workbook(tmp_path / "a.xlsx", A=[["text", None, "label"], ["x", 7, 1], ["y", 8, 2, "note"]])
    with open_table(path) as table:
        (batch,) = table.batches(9)
    assert batch.rows[0] == {"text": "x", "label": "1"}
    assert batch.errors == [None, "a value in a column that the header does not name"]
    assert cells(scored(path, {"p": 1}))[1] == ["x", 7, 1, 1]


def test_lists_are_json(tmp_path: Path) -> None:
    """Labels of a text are a JSON array in a cell, as in CSV."""
    path = workbook(tmp_path / "a.xlsx", A=[["text", "labels"], ["x", '["a", "b"]'], ["y", "[]"]])
    labelled = read_labelled(path, Columns())
    assert (labelled.task, labelled.targets) == ("multi_label", [["a", "b"], []])


def test_numbers_are_regression(tmp_path: Path) -> None:
    """Numbers with fractions beside whole ones."""
    labelled = read_labelled(workbook(tmp_path / "a.xlsx", A=[["text", "label"], ["x", 1], ["y", 0.25]]), Columns())
    assert (labelled.task, labelled.targets) == ("regression", [1.0, 0.25])


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([], "sheet 'A' is empty"),
        ([["text", "text"]], "sheet 'A' names column 'text' twice"),
    ],
)
def test_sheets_that_are_no_tables(tmp_path: Path, rows: list[list[Any]], message: str) -> None:
    """A sheet needs a header with distinct names."""
    with pytest.raises(UserError, match=message):
        open_table(workbook(tmp_path / "a.xlsx", A=rows))


def test_files_that_are_no_workbooks(tmp_path: Path) -> None:
    """Anything else of that name, and a workbook with a damaged sheet, is one line."""
    path = tmp_path / "a.xlsx"
    path.write_bytes(b"\xd0\xcf\x11\xe0" * 200)  # how an encrypted workbook begins
    with pytest.raises(UserError, match=r"a.xlsx cannot be read as an .xlsx workbook \(.*; if it is encrypted"):
        open_table(path)
    with zipfile.ZipFile(path, "w") as parts:
        for name, content in _PARTS.items():
            parts.writestr(name, content[:-200] if "sheet1" in name else content)
    with pytest.raises(UserError, match=r"cannot be read as an \.xlsx workbook"):
        read_labelled(path, Columns())


def test_a_cell_has_room_for_so_much(tmp_path: Path) -> None:
    """A value that a cell cannot hold is refused, where openpyxl would cut it."""
    path = workbook(tmp_path / "a.xlsx", A=[["text"], ["x"]])
    with pytest.raises(UserError, match="row 2 has 32,768 characters for one cell, and Excel's hold 32,767; use CSV"):
        scored(path, {"p": "x" * 32_768})


def test_many_rows(tmp_path: Path) -> None:
    """Rows come in batches of the size asked for, and the position ends at the size."""
    path = workbook(tmp_path / "a.xlsx", A=[["text"], *([f"t{n}"] for n in range(3000))])
    with open_table(path) as table:
        batches = list(table.batches(700))
        assert table.position() == table.size == 3001
    assert [(batch.start, len(batch.rows)) for batch in batches] == [
        (2, 700),
        (702, 700),
        (1402, 700),
        (2102, 700),
        (2802, 200),
    ]
