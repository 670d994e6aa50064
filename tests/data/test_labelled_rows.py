"""Reading labelled tables, and every fault of theirs in one line."""

import json
from pathlib import Path

import pyarrow
import pyarrow.parquet
import pytest

from bertwire_core.errors import UserError
from bertwire_core.tasks import Task
from bertwire_data.labelled import Columns, read_labelled


def read(path: Path) -> list[tuple[str, str]]:
    labelled = read_labelled(path, Columns())
    assert labelled.task == "single_label"
    return list(zip(labelled.inputs, labelled.targets, strict=True))  # type: ignore[arg-type]  # texts and labels


def fault(path: Path, task: Task | None = None) -> str:
    with pytest.raises(UserError) as caught:
        read_labelled(path, Columns(), task)
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
    labelled = read_labelled(path, Columns("body", label="class"))
    assert (labelled.inputs, labelled.targets) == (["hello"], ["x"])
    assert labelled.columns == Columns("body", label="class")


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
    """Damaged bytes of a CSV in UTF-8 are reported with their row."""
    message = fault(write(tmp_path, "a.csv", b"text,label\n\xc3\xa0 \xc3\xa9,1\ncaf\xe9,1\n"))
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


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.jsonl", '{"text": "x", "labels": ["b", 2, "b"]}\n{"text": "y", "labels": []}\n'),
        ("a.csv", 'text,labels\nx,"[""b"", 2, ""b""]"\ny,[]\n'),
    ],
)
def test_several_labels(tmp_path: Path, name: str, content: str) -> None:
    """A column of lists is several labels a text: distinct names, maybe none; in CSV the lists are JSON arrays."""
    labelled = read_labelled(write(tmp_path, name, content), Columns())
    assert (labelled.task, labelled.inputs, labelled.targets) == ("multi_label", ["x", "y"], [["b", "2"], []])


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.jsonl", '{"tokens": ["In", "New", "York"], "tags": ["O", "B-LOC", "I-LOC"]}\n'),
        ("a.tsv", 'tokens\ttags\n["In", "New", "York"]\t["O", "B-LOC", "I-LOC"]\n'),
    ],
)
def test_tagged_words(tmp_path: Path, name: str, content: str) -> None:
    """Columns of words and tags are token classification."""
    labelled = read_labelled(write(tmp_path, name, content), Columns())
    assert (labelled.task, labelled.words()) == ("token_classification", [3])
    assert (labelled.inputs, labelled.targets) == ([["In", "New", "York"]], [["O", "B-LOC", "I-LOC"]])


def test_lists_of_parquet(tmp_path: Path) -> None:
    """Lists of a Parquet file read as they are."""
    path = tmp_path / "a.parquet"
    pyarrow.parquet.write_table(pyarrow.table({"words": [["a", "b"]], "ner": [["O", "B-x"]]}), path)
    labelled = read_labelled(path, Columns("words", label="ner"))
    assert (labelled.task, labelled.targets) == ("token_classification", [["O", "B-x"]])


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.jsonl", '{"text": "x", "label": 1}\n{"text": "y", "label": 0.5}\n'),
        ("a.csv", "text,label\nx,1\ny,.5\n"),
    ],
)
def test_numbers(tmp_path: Path, name: str, content: str) -> None:
    """Numbers that are not all whole are regression."""
    labelled = read_labelled(write(tmp_path, name, content), Columns())
    assert (labelled.task, labelled.targets) == ("regression", [1.0, 0.5])


@pytest.mark.parametrize("labels", [["1", "2.0"], ["1.5", "inf"], ["1.5", "version 2"], ["1.5", "1_0"]])
def test_labels_that_only_look_like_numbers(tmp_path: Path, labels: list[str]) -> None:
    """Whole numbers, and columns with a single value that is no number, are labels."""
    path = write(tmp_path, "a.csv", "text,label\n" + "".join(f"x,{label}\n" for label in labels))
    assert [label for _, label in read(path)] == labels


def test_the_task_can_be_said(tmp_path: Path) -> None:
    """A given task wins over what the data looks like."""
    path = write(tmp_path, "a.csv", "text,label\nx,1\ny,2\n")
    assert read_labelled(path, Columns(), "regression").targets == [1.0, 2.0]


def test_label_column_comes_first(tmp_path: Path) -> None:
    """A table with the text and `label` is read by them, whatever else it has, unless another label is chosen."""
    row = {"text": "x", "label": "a", "labels": ["b"], "tokens": ["x"], "tags": ["O"]}
    path = write(tmp_path, "a.jsonl", json.dumps(row))
    assert read_labelled(path, Columns()).targets == ["a"]
    assert read_labelled(path, Columns(label="labels")).targets == [["b"]]
    assert read_labelled(path, Columns("tokens", label="tags")).targets == [["O"]]


def test_tags_beside_plain_text(tmp_path: Path) -> None:
    """A column of tags beside plain text is no token classification; the message lists the columns to choose from."""
    path = write(tmp_path, "a.jsonl", '{"text": "x", "words": ["x"], "tags": ["O"]}')
    assert "has no column 'label'; it has 'text', 'words', 'tags'" in fault(path)
    assert read_labelled(path, Columns("words")).task == "token_classification"


def test_text_pairs(tmp_path: Path) -> None:
    """A second text is read from its column, chosen or called `text_pair`."""
    path = write(tmp_path, "a.csv", "text,text_pair,other,label\nx,y,z,1\n")
    assert read_labelled(path, Columns()).inputs == [("x", "y")]
    assert read_labelled(path, Columns(text_pair="other")).inputs == [("x", "z")]
    single = read_labelled(write(tmp_path, "b.csv", "text,label\nx,1\n"), Columns())
    assert (single.inputs, single.text_pairs) == (["x"], False)


def test_missing_second_text(tmp_path: Path) -> None:
    """A row without its second text is faulty, and a missing column names the option that chooses it."""
    path = write(tmp_path, "a.csv", "text,text_pair,label\nx,,1\n")
    assert "row 1): an empty, blank or null value in column 'text_pair'" in fault(path)
    with pytest.raises(UserError, match=r"has no column 'z'.*--text-pair-column"):
        read_labelled(path, Columns(text_pair="z"))


@pytest.mark.parametrize(
    ("words", "tags", "kind"),
    [
        (["a", "b"], ["O"], "words and tags of unequal count"),
        (["a"], ["X"], "a tag that is not O, B-TYPE or I-TYPE"),
        (["a"], ["B-"], "a tag that is not O, B-TYPE or I-TYPE"),
        (["a"], [None], "a tag that is not O, B-TYPE or I-TYPE"),
        (["a", "b"], ["O", "I-x"], "a tag I-TYPE that follows neither B-TYPE nor I-TYPE"),
        (["a", "b"], ["B-y", "I-x"], "a tag I-TYPE that follows neither B-TYPE nor I-TYPE"),
        ([" "], ["O"], "an empty or blank word"),
        ([7], ["O"], "a word that is no string"),
        (["\ud800"], ["O"], "bytes that are not UTF-8 in column 'tokens'"),
        ([], [], "an empty list of words"),
        ("a b", ["O"], "no list of words in column 'tokens'"),
        (["a"], "O", "no list of tags in column 'tags'"),
        (["a"], None, "no value in column 'tags'"),
    ],
)
def test_faulty_tags(tmp_path: Path, words: object, tags: object, kind: str) -> None:
    """Words and tags that are no IOB2 are faults of their row."""
    rows = [{"tokens": ["a"], "tags": ["O"]}, {"tokens": words, "tags": tags}]
    path = write(tmp_path, "a.jsonl", "".join(json.dumps(row) + "\n" for row in rows))
    assert f"1 row (row 2): {kind}" in fault(path)


@pytest.mark.parametrize(
    ("task", "value", "kind"),
    [
        ("multi_label", "a", "no list of labels"),
        ("multi_label", ["a", None], "a label that is no string, integer or boolean"),
        ("multi_label", [" "], "an empty or blank label"),
        ("multi_label", [0, 0, 1], "a 0 or 1 for every label (multi-hot) in column 'labels'"),
        ("multi_label", [1.0, 1.0], "a 0 or 1 for every label"),
        ("multi_label", [False, True, False], "a 0 or 1 for every label"),
        ("regression", "high", "a label that is no finite number"),
        ("regression", True, "a label that is no finite number"),
        ("regression", 10**400, "a label that is no finite number"),
        ("regression", None, "no value in column"),
    ],
)
def test_faulty_targets(tmp_path: Path, task: Task, value: object, kind: str) -> None:
    """Values that the task has no use for are faults of their row."""
    column = "labels" if task == "multi_label" else "label"
    path = write(tmp_path, "a.jsonl", json.dumps({"text": "x", column: value}))
    assert f"1 row (row 1): {kind}" in fault(path, task)


def test_broken_list_in_csv(tmp_path: Path) -> None:
    """A cell that is no JSON array is a fault, not an error of the parser."""
    path = write(tmp_path, "a.csv", 'text,labels\nx,"[""a"", "\ny,[]\n')
    assert "1 row (row 1): no list of labels in column 'labels'" in fault(path)


def test_fingerprint_depends_on_inputs_targets_and_order(tmp_path: Path) -> None:
    """Equal rows have equal fingerprints; a change of text, label, border or order changes it."""

    def fingerprint(*rows: tuple[str, str]) -> str:
        lines = "".join(json.dumps({"text": text, "label": label}) + "\n" for text, label in rows)
        return read_labelled(write(tmp_path, "a.jsonl", lines), Columns()).sha256()

    first, second = ("é", "a"), ("x", "b")
    same = fingerprint(first, second)
    assert same == fingerprint(first, second)
    assert same not in {fingerprint(second, first), fingerprint(("é", "b"), second), fingerprint(("éa", "x"), second)}


def test_rows_can_be_taken(tmp_path: Path) -> None:
    """Rows taken keep their numbers, task and columns."""
    path = write(tmp_path, "a.jsonl", "".join(json.dumps({"text": f"x{n}", "label": n / 2}) + "\n" for n in range(4)))
    taken = read_labelled(path, Columns()).take([3, 1])
    assert (taken.inputs, taken.targets, taken.rows) == (["x3", "x1"], [1.5, 0.5], [4, 2])
    assert (taken.task, taken.columns.label) == ("regression", "label")
