"""What training says about its rows before it begins, and records."""

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import openpyxl
import pytest

from bertwire_core.errors import UserError
from bertwire_trainer.record import TrainingRecord

WriteRows = Callable[[str, list[tuple[str, str]]], Path]
Run = Callable[..., Path]
Separable = Callable[..., list[tuple[str, str]]]


def record(output: Path) -> TrainingRecord:
    return TrainingRecord.model_validate_json((output / "training.json").read_bytes())


def test_clean_rows_bring_no_remark(run: Run) -> None:
    assert record(run(epochs=1)).remarks == []


def test_remarks_are_printed_and_recorded(
    run: Run, write_rows: WriteRows, separable: Separable, capsys: pytest.CaptureFixture[str]
) -> None:
    """Odd rows, cut texts and unknown words are each one line before the first epoch, and the same in training.json."""
    rows = separable(40)
    odd = [rows[0], (rows[1][0], "negative"), ("stray " * 30, "Positive"), ("unseen", "negative")]
    output = run(train=write_rows("odd.jsonl", rows + odd), dev=write_rows("one.jsonl", [*separable(8, 100), rows[2]]))
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("warning: ")]
    assert lines == [f"warning: {each}" for each in record(output).remarks]
    expected = [
        "are learned as different ones: 'Positive' (1 example, too few to learn) and 'positive' (26 examples)",
        "1 row of train repeats the text and label of an earlier row",
        "1 distinct text is labelled in more than one way in train: rows 2 and 42",
        "1 distinct text is in both train and dev; quality on dev is overstated",
        "1 of 44 texts of train (2.3%) have more than 16 tokens and are cut",
    ]
    assert [said in line for said, line in zip(expected, lines, strict=True)] == [True] * len(expected), lines


def test_a_vocabulary_of_another_language(
    run: Run, write_rows: WriteRows, separable: Separable, capsys: pytest.CaptureFixture[str]
) -> None:
    """A checkpoint that does not know the words of train is said to, with their share."""
    rows = [(f"{text} 好 吗 呢 啊 了 的", label) for text, label in separable(24)]
    output = run(train=write_rows("chinese.jsonl", rows), epochs=1, max_length=32)
    (line,) = record(output).remarks
    assert "of the tokens of train are unknown to the vocabulary of --model tiny-bert" in line
    assert 40 < float(line.split("%")[0]) < 60
    assert f"warning: {line}\n" in capsys.readouterr().err


def test_how_the_file_was_read_is_recorded(
    run: Run, separable: Separable, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """What was found out about the files is said once each, also where dev is cut from train."""
    path = tmp_path / "rows.csv"
    lines = "".join(f"{text};{'très bon' if label == 'positive' else 'mauvais'}\n" for text, label in separable(48))
    path.write_bytes(f"text;label\n{lines}".encode("cp1252"))
    output = run(train=path, dev=None, epochs=1)
    found = record(output)
    assert found.labels == ["mauvais", "très bon"]
    assert ["is read as cp1252" in found.remarks[0], "separated by semicolons" in found.remarks[1]] == [True, True]
    printed = capsys.readouterr().err
    assert [printed.count(each) for each in found.remarks] == [1, 1]


def test_a_single_example_leaves_nothing_to_cut(run: Run, write_rows: WriteRows, separable: Separable) -> None:
    """Without dev rows of their own a class with one example is refused."""
    with pytest.raises(UserError, match="has one row only of label 'rare', too few to cut dev from"):
        run(train=write_rows("rare.jsonl", [*separable(24), ("w1 w2", "rare")]), dev=None)


def write(folder: Path, name: str, rows: list[tuple[str, Any]]) -> Path:
    """Writes rows in the format of the name."""
    path = folder / name
    table = [("text", "label"), *rows]
    if path.suffix == ".xlsx":
        book = openpyxl.Workbook()
        for row in table:
            book.active.append(row)
        book.save(path)
    elif path.suffix == ".csv":
        with path.open("w", newline="") as file:
            csv.writer(file).writerows(table)
    else:
        path.write_text("".join(json.dumps({"text": text, "label": label}) + "\n" for text, label in rows))
    return path


@pytest.mark.parametrize("name", ["rows.xlsx", "rows.csv", "rows.jsonl"])
def test_whole_numbers_are_labels(run: Run, separable: Separable, tmp_path: Path, name: str) -> None:
    """0 and 1 are the labels `0` and `1` in every format, in train as in dev, though these were not written alike."""

    def numbered(count: int, first: int, kinds: tuple[Any, Any]) -> list[tuple[str, Any]]:
        return [(text, kinds[label == "positive"]) for text, label in separable(count, first)]

    floats = (0, 1) if name == "rows.csv" else (0.0, 1.0)
    files = {
        "train": write(tmp_path, name, numbered(48, 0, floats)),
        "dev": write(tmp_path, "dev-" + name, numbered(16, 100, ("0", "1"))),
    }
    output = run(**files, epochs=1)
    assert record(output).labels == ["0", "1"]
    assert json.loads((output / "config.json").read_text())["id2label"] == {"0": "0", "1": "1"}
    predictions = [json.loads(line) for line in (output / "predictions" / "dev.jsonl").read_text().splitlines()]
    assert {row["label"] for row in predictions} == {"0", "1"}
    assert {row["predicted"] for row in predictions} <= {"0", "1"}
