"""The report of a training: its sections, its figures, and what becomes of a training where it fails."""

import base64
import hashlib
import json
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any
from xml.etree.ElementTree import Element

import pytest
from sklearn.metrics import precision_recall_fscore_support

from bertwire_trainer.config import TrainConfig
from bertwire_trainer.prepare import prepare
from bertwire_trainer.report.section import recorded
from bertwire_trainer.train import train_model
from html_tree import parse, text_of
from rows import ROWS, write

Row = Callable[[int], dict[str, Any]]
Report = Callable[..., Path]

ALWAYS = ["What was trained", "What is odd about the rows", "Curves", "Scores"]
LATER = ["Calibration", "Most confident mistakes", "Suspects of wrong labels", "Baselines", "What decided"]
MISTAKEN = {"regression": ["Predicted and true numbers"], "multi_label": []}


def sections(output: Path) -> dict[str, Element]:
    """The sections of the page by their headings."""
    return {text_of(each.findall("h2")[0]): each for each in parse(output / "report.html").iter("section")}


def figures(output: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((output / "report.json").read_bytes())
    return found


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def marked(number: int, *, wrong: range = range(0)) -> dict[str, Any]:
    """A row whose label is a word of it; those of `wrong` have the other label."""
    good = (number % 2 == 0) != (number in wrong)
    word = "good" if number % 2 == 0 else "bad"
    return {"text": f"w{number % 60} w{number // 60 % 60} {word}", "label": "positive" if good else "negative"}


@pytest.fixture
def report(task_base: Path, tmp_path: Path) -> Report:
    """Trains the tiny model on rows of `make`, 40 of dev, 20 of test; gives the output."""

    def start(make: Row, rows: int = 64, **options: Any) -> Path:  # noqa: ANN401 - any option of the command
        ranges = {"train": range(rows), "dev": range(400, 440), "test": range(440, 460)}
        files = {name: write(tmp_path / f"{name}.jsonl", make, each) for name, each in ranges.items()}
        recipe = {"epochs": 2, "batch_size": 8, "learning_rate": 3e-3, "max_length": 16, "precision": "fp32"}
        given = files | recipe | {"model": str(task_base), "output": tmp_path / "out"}
        config = TrainConfig(**(given | options))
        train_model(prepare(config))
        return config.output

    return start


@pytest.mark.parametrize("kind", ROWS)
def test_every_section_is_there(report: Report, kind: str) -> None:
    """Each task's page has all sections, none of which failed, and loads nothing."""
    output = report(ROWS[kind])
    found = sections(output)
    assert [*found] == ALWAYS + MISTAKEN.get(kind, ["What is mistaken for what"]) + LATER
    page, tree = (output / "report.html").read_text(encoding="utf-8"), parse(output / "report.html")
    assert "Not computed" not in page
    (style,) = [text_of(each) for each in tree.iter("style")]
    assert f"style-src 'sha256-{base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()}'" in page
    assert all(
        each.get("src", "").startswith("data:image/svg+xml;base64,")
        for each in parse(output / "report.html").iter("img")
    )
    assert not re.search(r"https?://|<script|style=", page)
    assert "max length" not in text_of(found["Curves"])
    (curves,) = figures(output)["curves"].values()
    assert len(curves["eval/loss"][0]) == 2


def test_scores_are_those_of_the_predictions(report: Report) -> None:
    """Of each label, and of all, the figures are scikit-learn's on the published predictions."""
    output = report(ROWS["pairs"], learning_rate=3e-4)
    for split in ("dev", "test"):
        rows = lines(output / "predictions" / f"{split}.jsonl")
        true, predicted = [row["label"] for row in rows], [row["predicted"] for row in rows]
        expected = precision_recall_fscore_support(true, predicted, labels=["no", "yes"], zero_division=0)
        found = figures(output)["scores"][split]
        for place, label in enumerate(("no", "yes")):
            assert [*found[label].values()] == pytest.approx([float(each[place]) for each in expected])
    cells = [text_of(each) for each in sections(output)["Scores"].iter("td")]
    assert f"{expected[2][0]:.4f}" in cells
    counts = [
        [sum(pair == (one, two) for pair in zip(true, predicted, strict=True)) for two in ("no", "yes")]
        for one in ("no", "yes")
    ]
    assert sum(map(sum, counts)) == 20
    dev = lines(output / "predictions" / "dev.jsonl")
    wrong = sum(row["label"] != row["predicted"] for row in dev)
    confusion = figures(output)["scores"]["confusion"]
    assert (sum(map(sum, confusion)), confusion[0][1] + confusion[1][0]) == (40, wrong)
    assert len(figures(output)["mistakes"]["rows"]) == min(wrong, 20)


def test_flipped_labels_are_suspects(report: Report) -> None:
    """Rows with another label than all like them are in suspects.jsonl, with the label that they had, and shown."""
    wrong = range(30, 36)
    output = report(lambda number: marked(number, wrong=wrong), rows=200)
    found = lines(output / "suspects.jsonl")
    assert {each["row"] - 1 for each in found} >= set(wrong)
    for each in found[: len(wrong)]:
        number = each["row"] - 1
        assert number in wrong
        assert each["suggested"] == marked(number)["label"] != each["label"]
    assert found[0]["text"] in text_of(sections(output)["Suspects of wrong labels"])
    assert figures(output)["suspects"] == {"rows": 200, "suspects": len(found)}


def test_baseline_that_is_not_beaten_is_named(report: Report, capsys: pytest.CaptureFixture[str]) -> None:
    """A training that learns nothing says that words alone do better, on the screen and on the page."""
    output = report(marked, learning_rate=1e-12, epochs=1)
    line = next(each for each in capsys.readouterr().err.splitlines() if "is no better than" in each)
    assert re.match(r"full is no better than (TF-IDF|frozen): macro-F1 [\d.]+ on dev against 1\.0000\.", line)
    assert line in text_of(sections(output)["Baselines"])
    found = figures(output)["baselines"]
    assert found["TF-IDF"]["dev"] == found["TF-IDF"]["test"] == 1.0
    assert found["full"]["test"] == pytest.approx(
        json.loads((output / "training.json").read_bytes())["metrics"]["test"]["macro_f1"]
    )


def test_method_that_is_a_baseline(report: Report) -> None:
    """Frozen is compared with words alone, not with itself, and logs no curve."""
    given = {"method": "frozen", "epochs": None, "batch_size": None, "learning_rate": None}
    output = report(marked, **given)
    assert [*figures(output)["baselines"]] == ["frozen", "TF-IDF"]
    assert "logs no steps" in text_of(sections(output)["Curves"])
    assert "Not computed" not in (output / "report.html").read_text(encoding="utf-8")


def test_decisive_words_are_marked(report: Report) -> None:
    """The word that makes the label has the strongest colour in most of the right decisions."""
    output = report(marked, epochs=6)
    texts = [each for each in sections(output)["What decided"].iter("p") if each.get("class") == "marked"]
    strongest = [text_of(word) for each in texts for word in each if word.get("class") in ("p3", "n3")]
    assert len(texts) >= 5
    assert sum(word in ("good", "bad") for word in strongest) > len(strongest) / 2


@pytest.mark.parametrize("chunks", [1, 2])
def test_explained_chunk_is_named(report: Report, chunks: int) -> None:
    """Where texts are read in chunks, the page says of which the words are."""
    output = report(marked, epochs=1, chunks=chunks, **({"chunk_overlap": 4} if chunks > 1 else {}))
    said = "Of a text in several chunks they are those of the first chunk alone." in text_of(
        sections(output)["What decided"]
    )
    assert said == (chunks > 1)


def test_hostile_texts_stay_texts(report: Report) -> None:
    """Markup in texts and labels acts nowhere."""
    hostile = "<script>alert(1)</script></td></table>"
    output = report(lambda number: marked(number) | {"label": hostile if number % 3 else '"><img src=x>'}, epochs=1)
    page = (output / "report.html").read_text(encoding="utf-8")
    assert "<script" not in page
    assert "&lt;script&gt;" in page
    assert [*sections(output)]


def test_no_report(report: Report) -> None:
    """--no-report writes none of the files that hold texts."""
    output = report(marked, epochs=1, report=False)
    assert not [*output.glob("report.*"), *output.glob("suspects.jsonl")]


def test_without_the_extra(report: Report, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Where a package of the extra is missing, the checkpoint is there, and one line says what to install."""
    for name in [each for each in sys.modules if each.startswith("bertwire_trainer.report.") and "section" not in each]:
        monkeypatch.delitem(sys.modules, name)
    for name in ("captum", "captum.attr"):
        monkeypatch.setitem(sys.modules, name, None)
    output = report(marked, epochs=1)
    assert (output / "training.json").is_file()
    assert not [*output.glob("report.*")]
    said = [each for each in capsys.readouterr().err.splitlines() if "report" in each]
    assert len(said) == 1
    assert re.match(r"no report was written: it needs captum\S*; pip install '\.\[report\]' in the folder", said[0])


def test_fault_in_a_section(
    report: Report, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A section that cannot be computed says so, in one line too, and the others are there."""

    def fail(*_: object) -> None:
        raise RuntimeError("no gradient\nhere")

    monkeypatch.setattr("bertwire_trainer.report.explanations.LayerIntegratedGradients", fail)
    output = report(marked, epochs=1)
    assert "Not computed: no gradient" in text_of(sections(output)["Explanations"])
    assert (
        "the report has no explanations: RuntimeError: no gradient; the checkpoint is not affected"
        in capsys.readouterr().err
    )
    assert "Baselines" in sections(output)


def test_fault_of_the_page(report: Report, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """A page that cannot be made does not keep the checkpoint from being published."""

    def fail(*_: object, **__: object) -> None:
        raise OSError("cannot")

    monkeypatch.setattr("bertwire_trainer.report.page.render", fail)
    output = report(marked, epochs=1)
    assert "no report was written: OSError: cannot; the checkpoint is not affected" in capsys.readouterr().err
    assert (output / "training.json").is_file()
    assert not (output / "report.html").exists()


def test_recorded_rows_become_a_table() -> None:
    """A list of objects in training.json is a table with their names as columns."""
    found = recorded(
        "Fairness", [{"group": "de", "rows": 5, "score": 0.5}, {"group": "fr", "rows": 7, "score": None}], "By group."
    )
    (table,) = found.tables
    assert (found.title, found.remark, table.columns) == ("Fairness", "By group.", ["group", "rows", "score"])
    assert table.rows == [["de", "5", "0.5000"], ["fr", "7", ""]]


def test_edits_and_groups_have_sections(report: Report) -> None:
    """What training.json says of edited texts and of groups is in the page, a row each."""
    page = (report(marked, epochs=1, robustness=True, fairness_column=["label"]) / "report.html").read_text()
    robustness, fairness = page.index("Robustness</h2>"), page.index("Fairness</h2>")
    assert "upper case" in page[robustness:fairness]
    assert page[fairness:].count("fewer than 30 rows") == 4
