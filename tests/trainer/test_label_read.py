"""The command `bertwire label-read`, on records as the annotation tools document them."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from bertwire_core.errors import UserError
from bertwire_data.labelled import Columns, read_labelled
from bertwire_trainer.labelling.cli import label_read

Record = dict[str, Any]
Convert = Callable[..., list[Record]]

app = typer.Typer(rich_markup_mode=None)
app.command()(label_read)


@pytest.fixture
def convert(tmp_path: Path) -> Convert:
    """Writes records, as JSON lines or as an array, converts them, and gives the rows."""

    def start(records: list[Record], *options: str, array: bool = False) -> list[Record]:
        export, output = tmp_path / "export.json", tmp_path / "rows.jsonl"
        lines = "\n".join(json.dumps(each) for each in records)
        export.write_text(json.dumps(records) if array else lines)
        result = CliRunner().invoke(app, [str(export), "--output", str(output), "--overwrite", *options])
        if result.exception:
            raise result.exception
        print(result.output)  # for capsys
        return [json.loads(line) for line in output.read_text().splitlines()]

    return start


def choice(text: str, *accept: str, style: str = "single", answer: str = "accept", who: str = "a") -> Record:
    """An annotation of Prodigy's interface choice."""
    return {
        "text": text,
        "options": [{"id": "SPORTS", "text": "Sports"}, {"id": "TECH", "text": "Tech"}],
        "accept": list(accept),
        "answer": answer,
        "config": {"choice_style": style},
        "_input_hash": 1,
        "_task_hash": 2,
        "_view_id": "choice",
        "_annotator_id": who,
        "_timestamp": 1691571400,
    }


# Of https://prodi.gy/docs/api-interfaces.
NER: Record = {
    "text": "First look at the new MacBook Pro",
    "spans": [{"start": 22, "end": 33, "label": "PRODUCT", "token_start": 5, "token_end": 6}],
    "tokens": [
        {"text": "First", "start": 0, "end": 5, "id": 0, "ws": True},
        {"text": "look", "start": 6, "end": 10, "id": 1, "ws": True},
        {"text": "at", "start": 11, "end": 13, "id": 2, "ws": True},
        {"text": "the", "start": 14, "end": 17, "id": 3, "ws": True},
        {"text": "new", "start": 18, "end": 21, "id": 4, "ws": True},
        {"text": "MacBook", "start": 22, "end": 29, "id": 5, "ws": True},
        {"text": "Pro", "start": 30, "end": 33, "id": 6, "ws": False},
    ],
    "answer": "accept",
    "_view_id": "ner_manual",
}


def argilla(text: str, *values: Any, status: str | None = None) -> Record:  # noqa: ANN401 - of a question
    """A record as `dataset.records.to_json` writes it, with an answer a person."""
    more = {} if status is None else {"status": status}
    said = [{"value": value, "user_id": f"user-{place}"} | more for place, value in enumerate(values)]
    return {
        "id": "7a7a",
        "fields": {"text": text},
        "metadata": {},
        "suggestions": {"label": {"value": "negative", "score": 0.6, "agent": "bertwire"}},
        "responses": {"label": said} if said else {},
        "vectors": {},
        "_server_id": "b1b1",
    }


def studio(text: str, *results: list[Record], cancelled: bool = False) -> Record:
    """A task of Label Studio's JSON export, with an annotation a person."""
    annotations = [
        {"id": place, "completed_by": place, "result": result, "was_cancelled": cancelled, "ground_truth": False}
        for place, result in enumerate(results, 1)
    ]
    return {"id": 1, "data": {"text": text}, "annotations": annotations, "drafts": [], "predictions": [], "meta": {}}


def result(kind: str, value: Record, name: str = "label") -> Record:
    return {"id": "Dx_aB91ISN", "from_name": name, "to_name": "text", "type": kind, "value": value, "origin": "manual"}


def chosen(*choices: str, name: str = "label") -> Record:
    return result("choices", {"choices": list(choices)}, name)


PLACES = [{"start": 3, "end": 8, "label": "place"}]
MARKS = [
    result("labels", {"start": 8, "end": 13, "text": "Paris", "labels": ["LOC"]}),
    result("labels", {"start": 0, "end": 3, "text": "Ann", "labels": ["PER"]}),
]
EXPORTS: dict[str, tuple[list[Record], list[Record]]] = {
    "prodigy, one label; ignored and rejected tasks": (
        [choice("x", "TECH"), choice("y", "SPORTS", answer="ignore"), choice("z", answer="reject")],
        [{"text": "x", "label": "TECH"}],
    ),
    "prodigy, several labels": (
        [choice("x", "TECH", "SPORTS", style="multiple"), choice("y", style="multiple")],
        [{"text": "x", "labels": ["SPORTS", "TECH"]}, {"text": "y", "labels": []}],
    ),
    "prodigy, binary": (
        [{"text": text, "label": "TECH", "answer": answer} for text, answer in (("x", "accept"), ("y", "reject"))],
        [{"text": "x", "label": "TECH"}],
    ),
    "prodigy, marks": (
        [NER, {"text": "No name", "spans": [], "answer": "accept", "_view_id": "ner_manual"}],
        [
            {"tokens": NER["text"].split(), "tags": ["O", "O", "O", "O", "O", "B-PRODUCT", "I-PRODUCT"]},
            {"tokens": ["No", "name"], "tags": ["O", "O"]},
        ],
    ),
    "prodigy, numbers": ([{"text": "x", "user_input": "2.5", "answer": "accept"}], [{"text": "x", "label": 2.5}]),
    "prodigy, a label and a remark": (
        [choice("x", "TECH") | {"user_input": "not sure"}],
        [{"text": "x", "label": "TECH"}],
    ),
    "argilla, one label; drafts and no answer": (
        [argilla("x", "positive"), argilla("y"), argilla("z", "negative", status="draft")],
        [{"text": "x", "label": "positive"}],
    ),
    "argilla, several labels": ([argilla("x", ["b", "a"])], [{"text": "x", "labels": ["a", "b"]}]),
    "argilla, spans": (
        [argilla("in Paris.", PLACES), argilla("nowhere", [])],
        [
            {"tokens": ["in", "Paris", "."], "tags": ["O", "B-place", "O"]},
            {"tokens": ["nowhere"], "tags": ["O"]},
        ],
    ),
    "argilla, rating": ([argilla("x", 4)], [{"text": "x", "label": 4.0}]),
    "label studio, one label; skipped and no annotation": (
        [studio("x", [chosen("Positive")]), studio("y", [chosen("a")], cancelled=True), studio("z")],
        [{"text": "x", "label": "Positive"}],
    ),
    "label studio, several labels": (
        [studio("x", [chosen("b", "a")]), studio("y", [])],
        [{"text": "x", "labels": ["a", "b"]}, {"text": "y", "labels": []}],
    ),
    "label studio, marks that end within a word": (
        [studio("Anna in,Paris", MARKS)],
        [{"tokens": ["Anna", "in", ",", "Paris"], "tags": ["B-PER", "O", "O", "B-LOC"]}],
    ),
    "label studio, number": ([studio("x", [result("number", {"number": 0.5})])], [{"text": "x", "label": 0.5}]),
    "label studio, rating": ([studio("x", [result("rating", {"rating": 3})])], [{"text": "x", "label": 3.0}]),
}


@pytest.mark.parametrize("array", [False, True])
@pytest.mark.parametrize("kind", EXPORTS)
def test_exports(convert: Convert, kind: str, array: bool) -> None:
    """What people answered becomes rows of the task that the answers look like, in JSON lines and in an array."""
    records, rows = EXPORTS[kind]
    assert convert(records, array=array) == rows


@pytest.mark.parametrize(
    ("record", "options", "row"),
    [
        (argilla("x", 4), ["--task", "single_label"], {"label": "4"}),
        (argilla("x", "0.25"), ["--task", "regression"], {"label": 0.25}),
        (choice("x", "TECH"), ["--task", "multi_label"], {"labels": ["TECH"]}),
        (studio("x", [chosen("a"), chosen("b", name="tone")]), ["--question", "tone"], {"label": "b"}),
    ],
)
def test_options(convert: Convert, record: Record, options: list[str], row: Record) -> None:
    """The task, and which of several questions, can be chosen."""
    assert convert([record], *options) == [{"text": "x"} | row]


def test_several_questions(convert: Convert) -> None:
    """Where a project has several, one must be chosen."""
    with pytest.raises(UserError, match=r"has answers of several controls: 'label', 'tone'; choose one with --questi"):
        convert([studio("x", [chosen("a"), chosen("b", name="tone")])])


def test_people_who_disagree(convert: Convert, capsys: pytest.CaptureFixture[str]) -> None:
    """Most answers win, each person's last one counts; what is left out is counted by its reason."""
    records = [
        *(choice("x", label, who=who) for who, label in (("a", "TECH"), ("b", "SPORTS"), ("c", "TECH"))),
        *(choice("y", label, who=who) for who, label in (("a", "TECH"), ("b", "SPORTS"))),
        *(choice("z", label, who="a") for label in ("TECH", "SPORTS")),
        *(choice("u", answer=answer) for answer in ("ignore", "reject")),
        choice("v"),
    ]
    assert convert(records) == [{"text": "x", "label": "TECH"}, {"text": "z", "label": "SPORTS"}]
    assert [line for line in capsys.readouterr().out.splitlines() if "left out" in line] == [
        "left out: 2 records without an answer that was accepted or submitted",
        "left out: 1 answers that give no label",
        "left out: 1 texts that people answered differently, as many of them one way as another",
    ]


def test_rows_are_what_training_reads(convert: Convert, tmp_path: Path) -> None:
    """Pairs of texts keep both, and the trainer's reader finds the task and the columns."""
    records = [choice("x", "TECH") | {"text_pair": "one"}, choice("x", "SPORTS") | {"text_pair": "two"}]
    convert(records)
    found = read_labelled(tmp_path / "rows.jsonl", Columns())
    assert (found.task, found.inputs, found.targets) == (
        "single_label",
        [("x", "one"), ("x", "two")],
        ["TECH", "SPORTS"],
    )


@pytest.mark.parametrize(
    ("content", "options", "message"),
    [
        ("", [], "export.json is no export of Prodigy"),
        ('{"text": "x", "label": "a"}', [], "export.json is no export of Prodigy"),
        ("[1]", [], "holds something else than JSON objects"),
        ("{", [], "is neither a JSON array nor JSON lines in UTF-8"),
        ('{"text": "x", "answer": "reject"}', [], "no text has an answer that was accepted or submitted"),
        ('{"body": "x", "label": "a", "answer": "accept"}', [], "record 1 has no text in 'text'; choose with --text-c"),
        ('{"text": "x \\ud83d", "label": "a", "answer": "accept"}', [], "record 1 has half of a character"),
        ('{"text": "x", "spans": [{}], "answer": "accept"}', [], "record 1 is not as its tool exports it: KeyError"),
        (
            '{"text": "ab", "answer": "accept", "spans": [{"start": 0, "end": 1, "label": "A"}, '
            '{"start": 1, "end": 2, "label": "B"}]}',
            [],
            "spans overlap in 'ab'; mark each word once",
        ),
        (
            '{"text": "x", "accept": ["a", "b"], "answer": "accept"}',
            ["--task", "single_label"],
            "the text 'x' has several labels; read them with --task multi_label",
        ),
        (
            '{"text": "x", "accept": ["a"], "answer": "accept"}',
            ["--task", "regression"],
            "'a' is no number, for the text 'x'",
        ),
    ],
)
def test_faulty_exports(tmp_path: Path, content: str, options: list[str], message: str) -> None:
    """What is wrong is one line that says what to do, and nothing is written."""
    export, output = tmp_path / "export.json", tmp_path / "rows.jsonl"
    export.write_text(content)
    result = CliRunner().invoke(app, [str(export), "--output", str(output), *options])
    assert isinstance(result.exception, UserError)
    assert message in str(result.exception)
    assert not output.exists()
