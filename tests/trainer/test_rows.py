"""Reading labelled tables, and every fault of theirs in one line."""

from pathlib import Path

import pyarrow
import pyarrow.parquet
import pytest

from bertwire_client.errors import UserError
from bertwire_trainer.rows import read_table


def read(path: Path) -> list[tuple[str, str]]:
    split = read_table(path, "text", "label")
    return list(zip(split.texts, split.labels, strict=True))


def fault(path: Path) -> str:
    with pytest.raises(UserError) as caught:
        read_table(path, "text", "label")
    message = str(caught.value)
    assert "\n" not in message
    return message


def write(tmp_path: Path, name: str, content: str | bytes) -> Path:
    path = tmp_path / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.csv", 'text,label\n"one, two",1\nthree,0\n'),
        ("a.tsv", "label\ttext\n1\tone, two\n0\tthree\n"),
        ("a.jsonl", '{"text": "one, two", "label": 1}\n{"text": "three", "label": 0}\n'),
    ],
)
def test_every_format_gives_the_same_rows(tmp_path: Path, name: str, content: str) -> None:
    """CSV, TSV and JSONL of the same rows read alike."""
    assert read(write(tmp_path, name, content)) == [("one, two", "1"), ("three", "0")]


def test_parquet_keeps_types(tmp_path: Path) -> None:
    """Booleans of a Parquet file become the names true and false."""
    path = tmp_path / "a.parquet"
    pyarrow.parquet.write_table(pyarrow.table({"text": ["a", "b"], "label": [True, False]}), path)
    assert read(path) == [("a", "true"), ("b", "false")]


def test_columns_can_be_chosen(tmp_path: Path) -> None:
    """Other column names work when given."""
    path = write(tmp_path, "a.csv", "body,class\nhello,x\n")
    assert read_table(path, "body", "class").texts == ["hello"]


@pytest.mark.parametrize("name", ["missing.csv", "missing.jsonl", "missing.parquet"])
def test_missing_file(tmp_path: Path, name: str) -> None:
    """A file that is not there is named."""
    assert fault(tmp_path / name) == f"{tmp_path / name}: no such file"


@pytest.mark.parametrize(
    ("name", "content"),
    [("a.csv", "body,label\nx,1\n"), ("a.jsonl", '{"body": "x", "label": 1}\n')],
)
def test_missing_column_names_those_there_are(tmp_path: Path, name: str, content: str) -> None:
    """A column that is not there is named beside the ones that are."""
    assert "has no column 'text'; it has 'body', 'label'" in fault(write(tmp_path, name, content))


def test_empty_file(tmp_path: Path) -> None:
    """A file of no bytes is said to be empty."""
    assert "is empty" in fault(write(tmp_path, "a.csv", ""))


@pytest.mark.parametrize(("name", "content"), [("a.csv", "text,label\n"), ("a.jsonl", "\n\n")])
def test_no_rows(tmp_path: Path, name: str, content: str) -> None:
    """A header with nothing under it, or blank lines, are no rows."""
    assert "has no rows" in fault(write(tmp_path, name, content))


@pytest.mark.parametrize("missing", ["", "  ", "nan", "NaN", "null", "NULL", "<NA>"])
def test_missing_values_of_csv(tmp_path: Path, missing: str) -> None:
    """Empty and blank fields and the spellings of data frames are missing values, as text and as label."""
    text = fault(write(tmp_path, "a.csv", f"text,label\nx,1\n{missing},1\n"))
    assert "1 row (row 2): an empty, blank or null value in column 'text'" in text
    label = fault(write(tmp_path, "b.csv", f"text,label\nx,1\ny,{missing}\n"))
    assert "1 row (row 2): an empty, blank or null value in column 'label'" in label


def test_none_is_a_label_in_csv(tmp_path: Path) -> None:
    """`None` and `NA` are labels in use, not missing values."""
    path = write(tmp_path, "a.csv", "text,label\nx,None\ny,NA\n")
    assert read(path) == [("x", "None"), ("y", "NA")]


@pytest.mark.parametrize("value", ["null", "NaN"])
def test_nulls_of_jsonl(tmp_path: Path, value: str) -> None:
    """JSON null and NaN are missing values; the string "nan" is a text."""
    lines = f'{{"text": "nan", "label": 1}}\n{{"text": {value}, "label": 1}}\n{{"text": "x", "label": {value}}}\n'
    message = fault(write(tmp_path, "a.jsonl", lines))
    assert "1 row (row 2): no value in column 'text'; 1 row (row 3): no value in column 'label'" in message


def test_absent_keys_of_some_rows(tmp_path: Path) -> None:
    """A JSONL row without the key has no value; the column itself is there."""
    path = write(tmp_path, "a.jsonl", '{"text": "a", "label": 1}\n{"label": 1}\n')
    assert "1 row (row 2): no value in column 'text'" in fault(path)


def test_many_faulty_rows_are_counted(tmp_path: Path) -> None:
    """All faulty rows are counted and the first five are named."""
    message = fault(write(tmp_path, "a.csv", "text,label\n" + ",1\n" * 8))
    assert "8 rows (rows 1, 2, 3, 4, 5, …)" in message


def test_bytes_that_are_not_utf8(tmp_path: Path) -> None:
    """Latin-1 bytes of a CSV are reported with their row."""
    message = fault(write(tmp_path, "a.csv", b"text,label\nok,1\ncaf\xe9,1\n"))
    assert "1 row (row 2): bytes that are not UTF-8 in column 'text'" in message


def test_malformed_rows(tmp_path: Path) -> None:
    """Rows with too few or too many fields are grouped by kind."""
    message = fault(write(tmp_path, "a.csv", "text,label\nx\na,b,c\nd,e,f\n"))
    assert "1 row (row 1): the row has 1 fields" in message
    assert "2 rows (rows 2, 3): the row has 3 fields" in message


def test_lines_that_are_not_json(tmp_path: Path) -> None:
    """Broken lines are one kind of fault, whatever the parser says of each."""
    message = fault(write(tmp_path, "a.jsonl", '{"text": \nnonsense\n{"text": "a", "label": 1}\n'))
    assert "2 rows (rows 1, 2): the line is not JSON;" in message


def test_values_of_the_wrong_type(tmp_path: Path) -> None:
    """A number as text and a list as label are refused."""
    message = fault(write(tmp_path, "a.jsonl", '{"text": 5, "label": 1}\n{"text": "a", "label": [1]}\n'))
    assert "row 1): a text that is no string" in message
    assert "row 2): a label that is no string, integer or boolean" in message


def test_damaged_parquet(tmp_path: Path) -> None:
    """A Parquet file with damaged data gets one line."""
    path = tmp_path / "a.parquet"
    table = pyarrow.table({"text": [f"text {n}" for n in range(500)], "label": [1] * 500})
    pyarrow.parquet.write_table(table, path, compression="gzip", use_dictionary=False)
    content = bytearray(path.read_bytes())
    content[60:400] = bytes(340)
    path.write_bytes(content)
    assert str(path) in fault(path)
