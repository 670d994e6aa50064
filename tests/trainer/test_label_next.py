"""The command `bertwire label-next`: texts, suggestions and advice, and the way back through `label-read`."""

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import openpyxl
import pytest
import typer
from typer.testing import CliRunner

from bertwire_core.errors import UserError
from bertwire_data.labelled import Columns, read_labelled
from bertwire_trainer.labelling.cli import label_next, label_read
from bertwire_trainer.labelling.pool import read_pool
from rows import ROWS, write

Run = Callable[..., Path]
Rows = list[dict[str, Any]]

SPLITS = {"train": range(48), "dev": range(100, 116)}

app = typer.Typer(rich_markup_mode=None)
app.command("label-next")(label_next)
app.command("label-read")(label_read)


def invoke(*arguments: object) -> str:
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == 0, result.output
    return result.stdout


def write_texts(path: Path, texts: list[str]) -> Path:
    path.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
    return path


def read(path: Path) -> Rows:
    """The records of a JSON array or of JSON lines."""
    text = path.read_text(encoding="utf-8")
    found: Rows = json.loads(text) if path.suffix == ".json" else [json.loads(line) for line in text.splitlines()]
    return found


def answered(tool: str, records: Rows) -> Rows:
    """What a tool exports once someone has accepted every suggestion."""
    if tool == "prodigy":
        return [each | {"answer": "accept", "_annotator_id": "a"} for each in records]
    if tool == "argilla":
        said = {"user_id": "1"}
        return [
            each | {"responses": {name: [said | {"value": one["value"]}] for name, one in each["suggestions"].items()}}
            for each in records
        ]
    return [
        each
        | {"annotations": [{"completed_by": 1, "was_cancelled": False, "result": each["predictions"][0]["result"]}]}
        for each in records
    ]


def test_imports_are_light() -> None:
    """The module that --help needs imports neither torch nor transformers nor numpy."""
    heavy = "{'torch', 'transformers', 'sklearn', 'numpy'}"
    code = f"import sys, bertwire_trainer.labelling.cli; print(sorted({heavy} & set(sys.modules)))"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"


def test_before_there_is_a_model(tiny: Path, tmp_path: Path) -> None:
    """Texts are chosen that differ, none twice in other spelling, and none that is labelled."""
    kinds = ["good good good", "bad bad bad", "w1 w2 w3", "w40 w41 w42"]
    texts = [spelt for kind in kinds for spelt in (kind, kind.upper(), f" {kind}  ", f"{kind} {kind[:4]}")]
    pool, output = write_texts(tmp_path / "pool.jsonl", texts), tmp_path / "next.jsonl"
    said = invoke("label-next", pool, "--model", tiny, "--count", 4, "--output", output)
    assert "4 of 8 unlabelled texts, by diversity alone" in said
    found = read(output)
    assert {row["text"].split()[0].casefold() for row in found} == {"good", "bad", "w1", "w40"}
    assert all(texts[row["row"] - 1] == row["text"] and set(row) == {"text", "row"} for row in found)

    labelled = tmp_path / "train.csv"
    labelled.write_text("text,label\nGOOD good good,a\nbad bad bad,b\n")
    invoke(
        *("label-next", pool, "--model", tiny, "--count", 2, "--output", output, "--overwrite", "--labelled", labelled)
    )
    assert {row["text"].split()[0].casefold() for row in read(output)} == {"w1", "w40"}


def test_pooled_checkpoints_suggest(run: Run, tmp_path: Path) -> None:
    """A checkpoint with a pooled head gives the labels that it has learned."""
    texts = [f"w{number} {word} {word}" for number in range(20) for word in ("good", "bad")]
    pool, output = write_texts(tmp_path / "pool.jsonl", texts), tmp_path / "next.jsonl"
    model = run(pooling="mean", epochs=8)
    invoke("label-next", pool, "--count", 40, "--model", model, "--output", output)
    right = [("good" in row["text"]) == (row["suggested"] == "positive") for row in read(output)]
    assert len(right) == 40
    assert sum(right) >= 36


def test_words_in_a_workbook(tmp_path: Path) -> None:
    """A cell of Excel holds a list as JSON, as one of CSV does."""
    book = openpyxl.Workbook()
    for row in (["tokens"], ['["Anna", "lives", "in", "Rome"]']):
        book.active.append(row)
    book.save(tmp_path / "pool.xlsx")
    assert read_pool(tmp_path / "pool.xlsx", Columns(), None).read.inputs == [["Anna", "lives", "in", "Rome"]]


def test_lines(tmp_path: Path) -> None:
    """A .txt file has a text a line, without a header."""
    path = tmp_path / "pool.txt"
    path.write_text('text, "one"\n\nmore\n', encoding="utf-8")
    assert read_pool(path, Columns(), None).read.inputs == ['text, "one"', "more"]
    assert read_pool(path, Columns(), "token_classification").read.inputs[0][:2] == ["text", ","]
    with pytest.raises(UserError, match="has one text a line, and pairs of texts are read"):
        read_pool(path, Columns(), None, pairs=True)


@pytest.mark.parametrize("measure", ["margin", "entropy"])
def test_the_least_certain_first(run: Run, tmp_path: Path, measure: str) -> None:
    """A batch is of the most uncertain third, the least certain first; asked for more, all texts come."""
    texts = [f"w{number} w{3 * number % 90} {word}" for number in range(30) for word in ("good", "bad")]
    pool, output = write_texts(tmp_path / "pool.jsonl", texts), tmp_path / "next.jsonl"
    options = ("--model", run(), "--uncertainty", measure, "--output", output, "--overwrite")
    invoke("label-next", pool, "--count", 100, *options)
    every = read(output)
    assert {row["text"] for row in every} == set(texts)
    assert f"6 of 60 unlabelled texts, by {measure} and diversity" in invoke("label-next", pool, "--count", 6, *options)
    found = read(output)
    assert {row["text"] for row in found} <= {row["text"] for row in every[:20]}
    for rows in (every, found):
        doubts = [row["uncertainty"] for row in rows]
        assert doubts == sorted(doubts, reverse=True)
        assert all(0 < row["uncertainty"] <= 1 and 0.5 <= row["confidence"] < 1 for row in rows)
        assert {row["suggested"] for row in rows} <= {"positive", "negative"}


@pytest.mark.parametrize("kind", ROWS)
def test_every_task_through_every_tool(run: Run, tmp_path: Path, kind: str) -> None:
    """Suggestions that people accept in a tool come back as labelled rows of the task with the same texts."""
    row = ROWS[kind]
    train, dev = (write(tmp_path / f"{name}.jsonl", row, part) for name, part in SPLITS.items())
    model = run(train=train, dev=dev)
    pool = write(tmp_path / "pool.jsonl", row, range(200, 260))
    task = json.loads((model / "training.json").read_text())["task"]
    asked = read_labelled(pool, Columns(), task)
    for tool in ("prodigy", "argilla", "label-studio"):
        output = tmp_path / f"{tool}.{'jsonl' if tool == 'prodigy' else 'json'}"
        invoke("label-next", pool, "--model", model, "--count", 8, "--format", tool, "--output", output)
        records = read(output)
        assert len(records) == 8
        export, labelled = tmp_path / f"{tool}-export.json", tmp_path / f"{tool}-rows.jsonl"
        export.write_text(json.dumps(answered(tool, records)))
        invoke("label-read", export, "--task", task, "--output", labelled)
        found = read_labelled(labelled, Columns(), task)
        assert 0 < len(found) <= 8
        assert all(each in asked.inputs for each in found.inputs)


def test_plain_rows_of_words(run: Run, tmp_path: Path) -> None:
    """Tags can be asked for of running text, whose words are then those that tags are suggested for."""
    train = write(tmp_path / "tagged.jsonl", ROWS["token_classification"], range(48))
    pool = write_texts(tmp_path / "pool.jsonl", ["w1 good, bad w2.", "w4 (good) w5", "w1 w2"])
    output = tmp_path / "next.jsonl"
    invoke("label-next", pool, "--model", run(train=train, dev=None), "--count", 3, "--output", output)
    found = {tuple(row["tokens"]): row["suggested"] for row in read(output)}
    assert set(found) == {("w1", "good", ",", "bad", "w2", "."), ("w4", "(", "good", ")", "w5"), ("w1", "w2")}
    assert all(len(words) == len(tags) for words, tags in found.items())


def edited(folder: Path, to: Path, rows: int, dev: float, dev_hash: str = "same") -> Path:
    """A copy of a checkpoint that says of itself that it saw `rows` rows and scored `dev`."""
    shutil.copytree(folder, to)
    record = json.loads((to / "training.json").read_text())
    record["data"]["train"]["rows"] = rows
    record["data"]["dev"]["sha256"] = dev_hash
    record["metrics"]["dev"]["macro_f1"] = dev
    (to / "training.json").write_text(json.dumps(record))
    return to


@pytest.mark.parametrize(
    ("scores", "first_dev", "line"),
    [
        (
            (0.5, 0.6, 0.7),
            "same",
            "0.5000 -> 0.6000 -> 0.7000 with 10 -> 20 -> 30 rows: +0.2000 in two rounds",
        ),
        ((0.7, 0.699, 0.702), "same", "+0.0020 in two rounds, less than 0.005, more labels hardly help"),
        ((0.5, 0.6, 0.7), "another", "0.0% of predictions changed from 1 to 2: less than 2%, more labels hardly help"),
        ((0.5,), "same", "one round: whether more labels help can be said from the second on"),
    ],
)
def test_whether_more_labels_help(
    run: Run, tmp_path: Path, scores: tuple[float, ...], first_dev: str, line: str
) -> None:
    """The last three dev scores say it; without one dev set, the predictions that changed; one round says nothing."""
    checkpoint, rounds = run(), tmp_path / "rounds"
    pool = write_texts(tmp_path / "pool.jsonl", [f"w{number} good bad" for number in range(40)])
    for number, score in enumerate(scores):
        dev = first_dev if number == 0 else "same"
        last = edited(checkpoint, rounds / str(number), 10 * (number + 1), score, dev)
    options = ("--rounds", rounds, "--count", 2, "--output", tmp_path / "next.jsonl")
    assert line in invoke("label-next", pool, "--model", last, *options)


def test_predictions_that_change(run: Run, tmp_path: Path) -> None:
    """A model that decides otherwise than the one before it changes predictions, and more labels help."""
    flipped = write_texts(tmp_path / "train.jsonl", [])
    rows = [
        (f"w{number} {word}", label)
        for number in range(24)
        for word, label in (("good", "negative"), ("bad", "positive"))
    ]
    flipped.write_text("".join(json.dumps({"text": text, "label": label}) + "\n" for text, label in rows))
    rounds = tmp_path / "rounds"
    edited(run(train=flipped, dev=flipped, epochs=4, output=tmp_path / "flipped"), rounds / "a", 10, 0.5)
    last = edited(run(epochs=4), rounds / "b", 20, 0.6)
    pool = write_texts(tmp_path / "pool.jsonl", [f"w{number} good" for number in range(40)])
    said = invoke(
        *("label-next", pool, "--model", last, "--rounds", rounds, "--count", 2, "--output", tmp_path / "next.jsonl")
    )
    assert "of predictions changed from a to b: at least 2%, more labels still help" in said


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["missing.csv"], r"^missing.csv: no such file$"),
        (["a.csv", "--text-column", "body"], r"^a.csv has no column 'body'; it has 'text', 'id': choose with --text"),
        (["blank.csv"], r"^blank.csv row 2: an empty, blank or null value in column 'text'; correct or remove"),
        (["broken.jsonl"], r"^broken.jsonl row 1: the line is not JSON"),
        (["a.csv", "--labelled", "a.csv"], r"^a.csv has no text that is not labelled; there is nothing to choose"),
        (["a.csv", "--rounds", "."], r"^--rounds needs the last round's checkpoint as --model; minilm is none of"),
        (["a.csv", "--format", "argilla"], r"^--format argilla is written as .json; give next.jsonl that ending$"),
        (["a.csv", "--model", "./nowhere"], r"^--model ./nowhere: no such folder$"),
        (["a.csv", "--model", "old"], r"/old/training.json is not what this version of bertwire writes: task: "),
        (["a.csv", "--count", "0"], r"^--count: .*greater than or equal to 1"),
        (["next.jsonl"], r"next.jsonl is also next.jsonl, which it would replace"),
        (["a.ods"], r"^a.ods: cannot tell the format"),
    ],
)
def test_faulty_input(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], message: str) -> None:
    """What is wrong is one line, and nothing is written."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.csv").write_text("text,id\nx,1\n")
    (tmp_path / "blank.csv").write_text("text,id\nx,1\n,2\n")
    (tmp_path / "broken.jsonl").write_text("{\n")
    (tmp_path / "old").mkdir()
    for name in ("config.json", "training.json", "tokenizer.json", "model.safetensors"):
        (tmp_path / "old" / name).write_text("{}")
    with pytest.raises(UserError, match=message):
        invoke("label-next", *arguments, "--output", "next.jsonl")
    assert not (tmp_path / "next.jsonl").exists()


def test_a_damaged_checkpoint(run: Run, tmp_path: Path) -> None:
    """It is one line that names the folder."""
    checkpoint = run(epochs=1)
    (checkpoint / "model.safetensors").write_bytes(b"x" * 64)
    texts = write_texts(tmp_path / "texts.jsonl", ["w1", "w2"])
    with pytest.raises(UserError, match=r"out cannot be loaded: [^\n]+$"):
        invoke("label-next", texts, "--model", checkpoint, "--output", tmp_path / "next.jsonl")


def test_the_output_is_kept(tiny: Path, tmp_path: Path) -> None:
    """A file that is there already is replaced only when told so."""
    pool, output = write_texts(tmp_path / "pool.jsonl", ["good", "bad"]), tmp_path / "next.jsonl"
    output.write_text("mine")
    with pytest.raises(UserError, match="exists already; choose another output or pass --overwrite"):
        invoke("label-next", pool, "--model", tiny, "--output", output)
    assert output.read_text() == "mine"
