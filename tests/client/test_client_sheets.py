"""Scoring of what spreadsheets write: each form comes back as it was, and what was found out is said."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import openpyxl
import pytest

from bertwire_batch import ScoreConfig, Summary, score_file
from bertwire_core.errors import UserError
from bertwire_core.options import validated

if TYPE_CHECKING:
    from fake import FakeServer


def score(path: Path, address: str, **options: Any) -> Summary:  # noqa: ANN401 - each its own type
    """Scores a file to `out` beside it."""
    return score_file(
        ScoreConfig(inputs=[path], output=path.with_name("out" + path.suffix), server=[address], **options)
    )


def book(path: Path) -> Path:
    """A workbook of two sheets, the first of which has no texts."""
    made = openpyxl.Workbook()
    made.active.append(["note"])
    sheet = made.create_sheet("Texts")
    for row in [["text", "id"], ["=1+1 is short", 7], [None, 8], ["so bad", 9]]:
        sheet.append(row)
    sheet["A2"].data_type = "s"
    made.save(path)
    return path


def test_a_workbook_comes_back(tmp_path: Path, fake: FakeServer) -> None:
    """The sheet has the columns added, with types; failed rows have their error."""
    summary = score(book(tmp_path / "in.xlsx"), fake.address, sheet="Texts")
    rows = [list(row) for row in openpyxl.load_workbook(tmp_path / "out.xlsx")["Texts"].values]
    assert rows == [
        [
            "text",
            "id",
            "predicted_label",
            "predicted_score",
            "predicted_truncated",
            "predicted_error",
            "predicted_model",
        ],
        ["=1+1 is short", 7, "short", 0.9, False, None, "fake/7"],
        [None, 8, None, None, None, "the row has no 'text'", None],
        ["so bad", 9, None, None, None, "INVALID_ARGUMENT: text 0 is bad", None],
    ]
    assert (summary.rows, summary.failed) == (3, 2)


def test_the_first_of_several_sheets_is_said(
    tmp_path: Path, fake: FakeServer, capsys: pytest.CaptureFixture[str]
) -> None:
    """It is said before it turns out to be the wrong one."""
    with pytest.raises(UserError, match="has no column 'text' but 'note'"):
        score(book(tmp_path / "in.xlsx"), fake.address)
    assert "of 2 sheets 'Sheet' is read; --sheet chooses another\n" in capsys.readouterr().err


def test_other_encodings_come_back(tmp_path: Path, fake: FakeServer, capsys: pytest.CaptureFixture[str]) -> None:
    """cp1252 with semicolons and Unicode text with tabs are written as they were read, and said."""
    (tmp_path / "in.csv").write_bytes("text;id\ncafé;1\n".encode("cp1252"))
    (tmp_path / "in.txt").write_bytes("\ufefftext\tid\r\n好\t1\r\n".encode("utf-16-le"))
    for name in ("in.csv", "in.txt"):
        score(tmp_path / name, fake.address)
    assert (tmp_path / "out.csv").read_bytes().decode("cp1252") == (
        "text;id;predicted_label;predicted_score;predicted_truncated;predicted_error;predicted_model\ncafé;1;short;0.9;false;;fake/7\n"
    )
    assert (tmp_path / "out.txt").read_bytes().decode("utf-16-le") == (
        "\ufefftext\tid\tpredicted_label\tpredicted_score\tpredicted_truncated\tpredicted_error\tpredicted_model\n好\t1\tshort\t0.9\tfalse\t\tfake/7\n"
    )
    assert [text for request in fake.requests for text in request.texts] == ["café", "好"]
    said = capsys.readouterr().err
    for each in ("is read as cp1252", "separated by semicolons", "is UTF-16", "separated by tabs"):
        assert said.count(each) == 1


def test_sheet_is_for_workbooks(tmp_path: Path) -> None:
    """Named for another format, it is refused."""
    with pytest.raises(UserError, match=r"^--sheet A is for \.xlsx files; leave it out$"):
        validated(ScoreConfig, {"inputs": [tmp_path / "a.csv"], "output": tmp_path / "b.csv", "sheet": "A"})


@pytest.mark.parametrize(
    ("arguments", "command"),
    [
        (("score", "in.xlsx", "--output", "out.xlsx"), "score"),
        (("train", "--train", "in.xlsx", "--output", "out"), "train"),
    ],
)
def test_missing_openpyxl_is_named(tmp_path: Path, arguments: tuple[str, ...], command: str) -> None:
    """Excel has an extra of its own, which no command's extra brings."""
    book(tmp_path / "in.xlsx")
    code = "import sys; sys.modules['openpyxl'] = None; from bertwire_cli.main import main; main()"
    done = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1] == (
        f"bertwire: bertwire {command} needs openpyxl: pip install '.[xlsx]' in the folder of bertwire's source"
    )
