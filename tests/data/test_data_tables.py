"""Tables in every format: what comes in, what goes out unchanged."""

import codecs
import csv
import decimal
import io
import json
from collections.abc import Callable
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bertwire_core.errors import UserError
from bertwire_data.tables import Batch, create_table, open_table

MakeFile = Callable[[str, bytes], Path]
ADDED: dict[str, type] = {"p_label": str, "p_score": float, "p_cut": bool, "p_all": dict}
VALUES = {"p_label": "good", "p_score": 0.5, "p_cut": True, "p_all": {"é": 0.5}}


def read(path: Path, rows: int = 2) -> list[Batch]:
    """All batches of a table."""
    with open_table(path) as table:
        return list(table.batches(rows))


def rows(path: Path) -> list[dict[str, Any]]:
    """All rows of a table."""
    return [row for batch in read(path) for row in batch.rows]


def faults(path: Path) -> list[str | None]:
    """Each row's fault."""
    return [error for batch in read(path) for error in batch.errors]


def copy(source: Path, added: dict[str, type] | None = None, values: dict[str, Any] | None = None) -> Path:
    """Writes a table's rows with columns added, next to it."""
    target = source.with_name("copy" + source.suffix)
    with open_table(source) as table, create_table(target, table, added or ADDED) as writer:
        for batch in table.batches(2):
            writer.write(batch, [VALUES if values is None else values] * len(batch.rows))
    return target


@pytest.fixture
def file(tmp_path: Path) -> MakeFile:
    """Writes bytes to a file of the given ending."""

    def write(name: str, content: bytes) -> Path:
        (tmp_path / name).write_bytes(content)
        return tmp_path / name

    return write


def test_csv_reads_what_spreadsheets_write(file: MakeFile) -> None:
    """Byte order mark, CRLF, quotes, delimiters and newlines within fields, blank lines."""
    path = file("a.csv", b'\xef\xbb\xbfid,text\r\n1,"a ""b"", c\r\nd"\r\n\r\n2,\xc3\xa9\r\n3,\r\n')
    assert rows(path) == [{"id": "1", "text": 'a "b", c\r\nd'}, {"id": "2", "text": "é"}, {"id": "3", "text": ""}]
    assert [batch.start for batch in read(path)] == [1, 3]


def test_tsv_takes_tabs(file: MakeFile) -> None:
    """Commas mean nothing in TSV."""
    assert rows(file("a.tsv", b"a,b\tc\n1,2\t3\n")) == [{"a,b": "1,2", "c": "3"}]


def test_tsv_quotes_are_characters(file: MakeFile) -> None:
    """A quote opens nothing in TSV, so no row swallows another; rows are given back byte for byte."""
    path = file("a.tsv", b'text\tn\n"Great" she said\t1\n"never closed\t2\n""\t3\n')
    assert [row["text"] for row in rows(path)] == ['"Great" she said', '"never closed', '""']
    assert faults(path) == [None] * 3
    written = copy(path, {"p": dict}, {"p": {"a": 0.5}})
    added = b'\t{"a": 0.5}'
    assert written.read_bytes().splitlines() == [
        b"text\tn\tp",
        b'"Great" she said\t1' + added,
        b'"never closed\t2' + added,
        b'""\t3' + added,
    ]
    assert [row["p"] for row in rows(written)] == ['{"a": 0.5}'] * 3


def test_tsv_values_stay_on_their_line(file: MakeFile) -> None:
    """An added value with tabs or line breaks is written with spaces in their place."""
    path = copy(file("a.tsv", b"text\nx\n"), {"p_error": str}, {"p_error": 'two\r\nlines,\t"quoted"'})
    assert path.read_bytes() == b'text\tp_error\nx\ttwo lines, "quoted"\n'


@settings(deadline=None, max_examples=50)
@given(st.lists(st.lists(st.text(st.characters(codec="utf-8", exclude_characters="\t\r\n")), min_size=2, max_size=2)))
def test_tsv_round_trip(tmp_path_factory: pytest.TempPathFactory, table: list[list[str]]) -> None:
    """Whatever a TSV field may hold comes back equal after reading and writing."""
    source = tmp_path_factory.mktemp("tsv") / "a.tsv"
    source.write_text("a\tb\n" + "".join("\t".join(row) + "\n" for row in table), encoding="utf-8", newline="")
    kept = [{"a": a, "b": b} for a, b in table]
    assert rows(source) == kept
    assert [{"a": row["a"], "b": row["b"]} for row in rows(copy(source))] == kept


@pytest.mark.parametrize("end", [b"", b"\n", b"\r\n"])
def test_unclosed_quote_is_a_fault(end: bytes, file: MakeFile) -> None:
    """A row whose quote closes nowhere says that it holds the rest of the file; rows before it are untouched."""
    path = file("a.csv", b'id,text\n1,a\n2,"b\n3,c\n4,d' + end)
    good, bad = faults(path)
    assert good is None
    assert bad is not None
    assert "never closed" in bad
    assert rows(path)[1] == {"id": "2", "text": "b\n3,c\n4,d" + end.decode()}
    assert rows(copy(path))[1]["text"] == "b\n3,c\n4,d" + end.decode()


def test_closed_quote_at_the_end_is_no_fault(file: MakeFile) -> None:
    """A file may end right after a closing quote, with no line end; an unclosed header is refused."""
    assert faults(file("a.csv", b'text\n"a"')) == [None]
    with pytest.raises(UserError, match="in the header is never closed"):
        open_table(file("b.csv", b'id,"text\n1,a\n'))


def test_ragged_rows_are_faults_and_keep_their_places(file: MakeFile) -> None:
    """A short and a long row say so; the added values stand under their names all the same."""
    path = file("a.csv", b"id,text\n1\n2,b,c\n3,d\n")
    short, long, right = faults(path)
    assert short == "the row has 1 fields where the header has 2"
    assert long == "the row has 3 fields where the header has 2; left over: ['c']"
    assert right is None
    assert [line["p_label"] for line in csv.DictReader(io.StringIO(copy(path).read_text()))] == ["good"] * 3


def test_bytes_that_are_not_utf8_outlive_csv(file: MakeFile) -> None:
    """Damaged UTF-8 is given back byte for byte."""
    path = file("a.csv", b"text\ncaf\xe9\n\xc3\xa9t\xc3\xa9\n")
    assert rows(path) == [{"text": "caf\udce9"}, {"text": "été"}]
    assert copy(path, {"n": int}, {"n": 1}).read_bytes() == b"text,n\ncaf\xe9,1\n\xc3\xa9t\xc3\xa9,1\n"


def test_csv_values_are_plain(file: MakeFile) -> None:
    """Added booleans and objects are written as JSON writes them, missing ones are empty."""
    path = file("a.csv", b"text\nx\n")
    assert copy(path).read_text() == 'text,p_label,p_score,p_cut,p_all\nx,good,0.5,true,"{""é"": 0.5}"\n'
    assert copy(path, values={}).read_text().splitlines()[1] == "x,,,,"


@settings(deadline=None, max_examples=50)
@given(st.lists(st.lists(st.text(st.characters(codec="utf-8")), min_size=2, max_size=2), max_size=5))
def test_csv_round_trip(tmp_path_factory: pytest.TempPathFactory, table: list[list[str]]) -> None:
    """Whatever the csv module can write comes back equal after reading and writing."""
    source = tmp_path_factory.mktemp("csv") / "a.csv"
    with source.open("w", encoding="utf-8", newline="") as out:
        csv.writer(out).writerows([["a", "b"], *table])
    kept = [{"a": a, "b": b} for a, b in table]
    assert rows(source) == kept
    assert [{"a": row["a"], "b": row["b"]} for row in rows(copy(source))] == kept


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.csv", b"", "is empty"),
        ("a.csv", b"\n", "must name the columns"),
        ("a.tsv", b"\n", "must name the columns"),
        ("a.csv", b"a,b,a\n", "names column 'a' twice"),
        ("a.jsonl", b"", "is empty"),
        ("a.csv", "text,label\né,a\n".encode("utf-16-le"), "is UTF-16LE and must be UTF-8.*iconv -f UTF-16LE "),
        ("a.csv", codecs.BOM_UTF16_LE + "text\n".encode("utf-16-le") + b"a", "begins as UTF-16 and is not: truncated"),
        ("a.jsonl", '{"text": "a"}\n'.encode("utf-16"), "is UTF-16 and must be UTF-8.*iconv -f UTF-16 "),
        ("a.csv", "text\n".encode("utf-32"), "is UTF-32 and"),
        ("a.jsonl", '{"text": "a"}\n'.encode("utf-16-le"), "is UTF-16LE and"),
        ("a.jsonl", '{"text": "a"}\n'.encode("utf-16-be"), "iconv -f UTF-16BE -t UTF-8 a.jsonl > a-utf8.jsonl"),
        ("a.parquet", b"no parquet", "is not a Parquet file"),
        ("a.parquet", b"version https://git-lfs.github.com/spec/v1\n", "is a Git LFS pointer"),
        ("a.csv", b"version https://git-lfs.github.com/spec/v1\n", "is a Git LFS pointer"),
        ("a.xls", b"x", "cannot tell the format"),
        ("a", b"x", "cannot tell the format"),
    ],
)
def test_unreadable_files_are_user_errors(name: str, content: bytes, message: str, file: MakeFile) -> None:
    """Each says what is wrong with it, and leaves no file open."""
    with pytest.raises(UserError, match=message):
        open_table(file(name, content))


def test_missing_file_is_a_user_error(tmp_path: Path) -> None:
    """So is a folder."""
    with pytest.raises(UserError, match="no such file"):
        open_table(tmp_path / "a.csv")


def test_header_alone_is_a_table_without_rows(file: MakeFile) -> None:
    """It is copied as such."""
    path = file("a.csv", b"text\n")
    assert rows(path) == []
    assert copy(path, {"n": int}).read_bytes() == b"text,n\n"


def test_a_field_without_end_is_a_user_error(file: MakeFile) -> None:
    """A quote that never closes is reported with its line once it passes the limit."""
    path = file("a.csv", b'text\n"' + b"x" * 300)
    before = csv.field_size_limit(200)
    try:
        with pytest.raises(UserError, match="line 2: field larger than field limit"):
            read(path)
    finally:
        csv.field_size_limit(before)


LINES = [
    b'{"text": "a", "n": 123456789012345678901234567890, "d": 0.1000, "nested": {"x": [1, null]}}',
    b'{"text": "\\ud800", "nan": NaN}',
    b'{"text":"\xc3\xa9","text":"twice"}',
    b"{}",
    b'{ "open": 1',
    b"[1, 2]",
    b'{"text": "caf\xe9"}',
    b"[" * 100_000,
]


def test_jsonl_keeps_types_and_names_bad_lines(file: MakeFile) -> None:
    """Numbers, nesting and lone surrogates arrive; lines that are no objects are rows with a fault."""
    path = file("a.jsonl", b"\xef\xbb\xbf" + b"\n".join([*LINES[:4], b"  ", *LINES[4:]]) + b"\r\n")
    found = rows(path)
    assert found[0] == {"text": "a", "n": 123456789012345678901234567890, "d": 0.1, "nested": {"x": [1, None]}}
    assert found[1]["text"] == "\ud800"
    assert [fault is not None for fault in faults(path)] == [False] * 4 + [True] * 4
    assert faults(path)[5] == "the line is not a JSON object"


def test_jsonl_objects_keep_their_text(file: MakeFile) -> None:
    """The keys are added to the very text of the line; a line that is no object becomes the value of `line`."""
    lines = copy(file("a.jsonl", b"\n".join(LINES)), {"z": int, "o": dict}, {"z": 1, "o": {"é": 1}}).read_bytes()
    written = lines.splitlines()
    tail = '"z": 1, "o": {"é": 1}}'.encode()
    assert written[:3] == [line[:-1] + b", " + tail for line in LINES[:3]]
    assert written[3] == b"{" + tail
    assert json.loads(written[4]) == {"line": '{ "open": 1', "z": 1, "o": {"é": 1}}
    assert json.loads(written[6])["line"] == '{"text": "caf\\xe9"}'


def test_added_names_must_be_new(file: MakeFile) -> None:
    """A column of the input is never replaced: CSV says so at once, JSONL at the row that has the key."""
    with pytest.raises(UserError, match="column 'p_label' already"):
        copy(file("a.csv", b"text,p_label\na,b\n"))
    with pytest.raises(UserError, match="row 3 has a key 'p_cut' already"):
        copy(file("a.jsonl", b'{"a": 1}\n' * 2 + b'{"p_cut": 1}\n'))


@settings(deadline=None, max_examples=50)
@given(st.dictionaries(st.text(), st.recursive(st.none() | st.booleans() | st.integers() | st.text(), st.lists)))
def test_jsonl_round_trip(tmp_path_factory: pytest.TempPathFactory, row: dict[str, Any]) -> None:
    """Whatever JSON can say comes back equal after reading and writing."""
    source = tmp_path_factory.mktemp("jsonl") / "a.jsonl"
    source.write_text(json.dumps(row) + "\n")
    assert rows(source) == [row]
    assert rows(copy(source, {"~added~": int}, {"~added~": 1})) == [row | {"~added~": 1}]


def parquet(tmp_path: Path, **columns: pa.Array) -> Path:
    """Writes a Parquet file."""
    pq.write_table(pa.table(columns), tmp_path / "a.parquet")
    return tmp_path / "a.parquet"


def test_parquet_types_are_kept(tmp_path: Path) -> None:
    """Every column comes back with its type and values, nulls and nanoseconds included; row values need no pandas."""
    path = parquet(
        tmp_path,
        text=pa.array(["a", None, "c"]),
        big=pa.array(["a", "b", "c"], pa.large_string()),
        kind=pa.array(["x", "x", None]).dictionary_encode(),
        nanos=pa.array([1, None, 2_000_000_001], pa.timestamp("ns", "UTC")),
        price=pa.array([decimal.Decimal("1.10"), None, decimal.Decimal("2.00")]),
        day=pa.array([date(2024, 1, 2)] * 3),
        many=pa.array([[1, 2], None, []], pa.list_(pa.int32())),
        deep=pa.array([{"x": 1}, None, {"x": None}], pa.struct([("x", pa.int8())])),
    )
    first = rows(path)[0]
    assert first["nanos"] == datetime(1970, 1, 1, tzinfo=UTC)
    assert type(first["nanos"]) is datetime
    assert (first["price"], first["many"], first["deep"]) == (decimal.Decimal("1.10"), [1, 2], {"x": 1})
    before, after = pq.read_table(path), pq.read_table(copy(path))
    assert after.select(before.column_names).equals(before)
    assert after["p_all"].to_pylist() == ['{"é": 0.5}'] * 3
    assert after.schema.field("p_cut").type == pa.bool_()


def test_parquet_values_that_python_cannot_hold(tmp_path: Path) -> None:
    """A moment beyond the year 9999 is None, bytes that are not UTF-8 are lone surrogates; the others stay."""
    text = pa.Array.from_buffers(pa.string(), 2, pa.array([b"ok", b"caf\xe9"]).buffers())
    path = parquet(tmp_path, text=text, when=pa.array([0, 2**60], pa.timestamp("us")))
    assert [row["text"] for row in rows(path)] == ["ok", "caf\udce9"]
    assert [row["when"] for row in rows(path)] == [datetime(1970, 1, 1), None]  # noqa: DTZ001 - it has no zone
    assert pq.read_table(copy(path))["text"][1].as_buffer().to_pybytes() == b"caf\xe9"


def test_parquet_without_rows(tmp_path: Path) -> None:
    """An empty table stays one, with the columns added."""
    path = parquet(tmp_path, text=pa.array([], pa.string()))
    assert pq.read_table(copy(path)).column_names == ["text", *ADDED]


def test_parquet_with_a_column_twice(tmp_path: Path) -> None:
    """One of the two could not be reached, so the file is refused."""
    pq.write_table(pa.Table.from_arrays([pa.array([1]), pa.array([2])], ["a", "a"]), tmp_path / "a.parquet")
    with pytest.raises(UserError, match="names column 'a' twice"):
        open_table(tmp_path / "a.parquet")


def test_parquet_row_groups_are_large(tmp_path: Path) -> None:
    """Many small batches do not make many small row groups."""
    path = parquet(tmp_path, n=pa.array(range(20_000)))
    assert pq.ParquetFile(copy(path)).num_row_groups == 2


def test_position_reaches_size(file: MakeFile) -> None:
    """A progress bar over a table ends at its end."""
    for name, content in {"a.csv": b"text\n" + b"a\n" * 9, "a.jsonl": b'{"a": 1}\n' * 9}.items():
        with open_table(file(name, content)) as table:
            assert list(table.batches(2))
            assert table.position() == table.size == len(content)
