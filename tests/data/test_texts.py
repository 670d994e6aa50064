"""Texts without labels, from every format."""

import json
from pathlib import Path

import pyarrow
import pyarrow.parquet
import pytest

from bertwire_core.errors import UserError
from bertwire_data.texts import read_texts

TEXTS = ["one, two", "zwölf", "three"]


@pytest.mark.parametrize("name", ["a.csv", "a.tsv", "a.jsonl", "a.parquet", "a.txt"])
def test_formats(tmp_path: Path, name: str) -> None:
    """A column of a table, or each line of a .txt file that is not blank."""
    path = tmp_path / name
    content = {
        "a.csv": 'id,text\n1,"one, two"\n2,zwölf\n3,three\n',
        "a.tsv": "text\tid\none, two\t1\nzwölf\t2\nthree\t3\n",
        "a.jsonl": "".join(json.dumps({"text": text}) + "\n" for text in TEXTS),
        "a.txt": "\ufeffone, two\r\n\n  zwölf \nthree",
    }
    if name == "a.parquet":
        pyarrow.parquet.write_table(pyarrow.table({"text": TEXTS}), path)
    else:
        path.write_text(content[name], encoding="utf-8", newline="")
    assert read_texts(path, "text", "--column") == TEXTS


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.csv", b"a,b\n1,2\n", r"has no column 'text'; it has 'a', 'b': choose with --column$"),
        ("a.csv", b"text,b\nx,1\n,2\ny,3,4\n", r"has faulty rows: 1 row \(row 2\): an empty, .*; 1 row \(row 3\)"),
        ("a.jsonl", b'{"text": 1}\n', "a text that is no string in column 'text'"),
        ("a.jsonl", b"\n", "has no texts"),
        ("a.txt", b" \n\n", "has no texts"),
        ("a.txt", b"\xff\xfe", "is not UTF-8"),
        ("a.txt", b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n", "Git LFS"),
        ("a.doc", b"x", "cannot tell the format"),
    ],
)
def test_faulty_files(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    """Faults are one line that says what to do."""
    (tmp_path / name).write_bytes(content)
    with pytest.raises(UserError, match=message):
        read_texts(tmp_path / name, "text", "--column")


@pytest.mark.parametrize("name", ["a.txt", "a.csv"])
def test_missing_file(tmp_path: Path, name: str) -> None:
    """A missing file is named."""
    with pytest.raises(UserError, match=f"{name}: no such file"):
        read_texts(tmp_path / name, "text", "--column")
