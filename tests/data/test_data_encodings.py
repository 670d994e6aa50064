"""CSV as spreadsheets write it: other delimiters and encodings, found out, said, and written back."""

import codecs
from pathlib import Path
from typing import Any

import pytest

from bertwire_core.errors import UserError
from bertwire_data.labelled import Columns, read_labelled
from bertwire_data.tables import create_table, open_table


def read(path: Path) -> tuple[list[dict[str, Any]], list[str]]:
    """The rows of a table and what is said about it."""
    with open_table(path) as table:
        return [row for batch in table.batches(2) for row in batch.rows], list(table.remarks)


def scored(path: Path, values: dict[str, Any]) -> bytes:
    """The bytes of a table written with columns added."""
    target = path.with_name("out" + path.suffix)
    with (
        open_table(path) as table,
        create_table(target, table, {name: type(value) for name, value in values.items()}) as writer,
    ):
        for batch in table.batches(2):
            writer.write(batch, [values] * len(batch.rows))
    return target.read_bytes()


def file(folder: Path, name: str, content: bytes | str) -> Path:
    path = folder / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


@pytest.mark.parametrize(
    ("header", "row", "said"),
    [
        ("text,label", "a;b,c", None),
        ("text;label", "a,b;c", "semicolons"),
        ("text\tlabel", "a;b,c\td", "tabs"),
        ('"text, or more, or less";label', "a,b;c", "semicolons"),
        ('"text;a;""b"";c",label', "a;b,c", None),
        ('"text\n;;";"la;bel"', "a;b", "semicolons"),
        ("text, long;label;id", "a,b,c;d;1", "semicolons"),
        ("text;a,label", "a,b", None),
        ("text", "a;b", None),
    ],
)
def test_the_header_tells_the_delimiter(tmp_path: Path, header: str, row: str, said: str | None) -> None:
    """What a header has most of outside quotes separates all rows; anything but commas is said."""
    path = file(tmp_path, "a.csv", f"{header}\n{row}\n")
    ((fields,), remarks) = read(path)
    delimiter = {None: ",", "semicolons": ";", "tabs": "\t"}[said]
    assert list(fields.values()) == row.split(delimiter)
    assert remarks == ([f"{path}: columns are separated by {said}"] if said else [])


def test_quoted_fields_of_any_delimiter(tmp_path: Path) -> None:
    """Fields with the delimiter, quotes and line breaks come back as they were, in the file's own form."""
    content = 'text;label\n"a; ""b""\nc";1\n"d";2\n'
    path = file(tmp_path, "a.csv", content)
    assert read(path)[0] == [{"text": 'a; "b"\nc', "label": "1"}, {"text": "d", "label": "2"}]
    assert scored(path, {"p": "x;y"}).decode() == 'text;label;p\n"a; ""b""\nc";1;"x;y"\nd;2;"x;y"\n'


def test_cp1252_is_said_with_what_it_makes_of_the_text(tmp_path: Path) -> None:
    """Bytes that break UTF-8 are read as cp1252, and the line that first has one is shown as it was read."""
    path = file(tmp_path, "a.csv", "text;label\nplain;1\nun café à 5 €;2\n".encode("cp1252"))
    rows, (remark, separated) = read(path)
    assert rows[1] == {"text": "un café à 5 €", "label": "2"}
    assert "is not UTF-8 and is read as cp1252, by which line 3 has 'un café à 5 €;2'; if that is wrong" in remark
    assert "semicolons" in separated
    labelled = read_labelled(path, Columns())
    assert (labelled.inputs[1], labelled.remarks) == ("un café à 5 €", [remark, separated])


def test_a_wrong_cp1252_shows(tmp_path: Path) -> None:
    """Cyrillic in cp1251 cannot be told from cp1252, but the line shows what became of it."""
    assert "line 2 has 'Äûì'" in read(file(tmp_path, "a.csv", "text\nДым\n".encode("cp1251")))[1][0]


@pytest.mark.parametrize(
    ("content", "why"),
    [
        ("text,label\nÀ demain,1\nété,1\n".encode() + b"caf\xe9,2\n", "a damaged byte in UTF-8"),
        (
            "text,label\n文字。,1\n".encode("shift_jis"),
            "bytes without a character in cp1252",
        ),
    ],
)
def test_what_is_not_taken_for_cp1252(tmp_path: Path, content: bytes, why: str) -> None:
    """Its rows are faulty, each with its number, and nothing is guessed."""
    path = file(tmp_path, "a.csv", content)
    assert read(path)[1] == [], why
    with pytest.raises(UserError, match=r"rows? \(rows? .*bytes that are not UTF-8 in column 'text'"):
        read_labelled(path, Columns())


@pytest.mark.parametrize("name", ["a.csv", "a.tsv"])
def test_cp1252_is_written_back(tmp_path: Path, name: str) -> None:
    """Rows keep their bytes; what cp1252 lacks is written as its escape, JSON stays JSON."""
    between = "," if name == "a.csv" else "\t"
    path = file(tmp_path, name, b"text\ncaf\xe9 \x80\n")
    found = scored(path, {"p": "é中", "q": ["é中"]}).decode("cp1252")
    listed = '"[""\\u00e9\\u4e2d""]"' if name == "a.csv" else '["\\u00e9\\u4e2d"]'
    assert found == between.join(["text", "p", "q"]) + "\n" + between.join(["café €", "é\\u4e2d", listed]) + "\n"


@pytest.mark.parametrize("codec", ["utf-16-le", "utf-16-be", "utf-8"])
def test_a_byte_order_mark_is_read_and_written(tmp_path: Path, codec: str) -> None:
    """Excel's Unicode text, with tabs and quotes, comes back in the same encoding with the same mark."""
    content = '\ufefftext\tlabel\r\n"中\t""文"""\t好\r\n😀\t坏\r\n'
    path = file(tmp_path, "a.txt", content.encode(codec))
    rows, remarks = read(path)
    assert rows == [{"text": '中\t"文"', "label": "好"}, {"text": "😀", "label": "坏"}]
    assert [("UTF-16, as Excel writes Unicode text" in each, "tabs" in each) for each in remarks] == (
        [(False, True)] if codec == "utf-8" else [(True, False), (False, True)]
    )
    written = scored(path, {"p": "中"}).decode(codec)
    assert written == '\ufefftext\tlabel\tp\n"中\t""文"""\t好\t中\n😀\t坏\t中\n'


def test_utf16_of_many_pieces(tmp_path: Path) -> None:
    """A file of several megabytes is read whole and its position ends at its size."""
    path = file(tmp_path, "a.csv", codecs.BOM_UTF16_LE + ("text,n\n" + "文字,1\n" * 300_000).encode("utf-16-le"))
    with open_table(path) as table:
        assert sum(len(batch.rows) for batch in table.batches(5000)) == 300_000
        assert table.position() == table.size


def test_a_fault_says_what_was_found_out(tmp_path: Path) -> None:
    """Where rows cannot be read, the line also says how the file was read."""
    path = file(tmp_path, "a.csv", "sentence;label\nx;1\n")
    with pytest.raises(
        UserError, match=r"has no column 'text'; it has 'sentence', 'label': .*separated by semicolons$"
    ):
        read_labelled(path, Columns())
