"""Scores of groups of rows."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy
import pytest

from bertwire_core.errors import UserError
from bertwire_data.labelled import Columns, Labelled, encode_targets, read_labelled
from bertwire_trainer.trust.answers import Answers
from bertwire_trainer.trust.fairness import fairness
from bertwire_trainer.trust.groups import groupings
from bertwire_trainer.trust.terms import mentions, read_terms

Run = Callable[..., Path]

TEXTS = ["she left", "He left", "it rained", "her book", "the sheep", "his and her book"]
TRUE = ["yes", "no", "no", "no", "yes", "no"]
DECIDED = ["yes", "yes", "no", "yes", "no", "no"]


def answers(groups: dict[str, list[str]] | None = None) -> tuple[Labelled, Answers]:
    """Six rows, of which rows 1, 3 and 4 are wrong."""
    rows = Labelled("dev", "single_label", TEXTS, TRUE, [*range(1, 7)], groups=groups or {})
    labels = ["no", "yes"]
    logits = numpy.eye(2)[[labels.index(each) for each in DECIDED]]
    return rows, Answers(rows, logits, encode_targets(rows, labels), labels)


def test_column_by_hand() -> None:
    """Rows, accuracy, selection and false positive rates of two groups, and the largest differences."""
    rows, given = answers({"sex": ["f", "m", "f", "f", "m", "m"]})
    (grouping,) = groupings(rows, ["sex"], {})
    found = fairness("dev", given, grouping)
    women, men = found.groups
    # f: rows 0, 2, 3: right, right, wrong. m: rows 1, 4, 5: wrong, wrong, right.
    assert (women.name, women.rows, men.rows) == ("f", 3, 3)
    assert (women.accuracy, men.accuracy) == pytest.approx((2 / 3, 1 / 3))
    assert women.selection_rate == pytest.approx({"no": 1 / 3, "yes": 2 / 3})
    # f without yes: rows 2 and 3, of which 3 gets it. m without yes: rows 1 and 5, of which 1 gets it.
    assert women.false_positive_rate == pytest.approx({"no": 0.0, "yes": 0.5})
    assert men.false_positive_rate == pytest.approx({"no": 1.0, "yes": 0.5})
    assert found.gaps["accuracy"] == pytest.approx(1 / 3)
    assert (found.gaps["false_positive_rate"], found.label) == (1.0, "no")
    # f: F1 of no 2/3, of yes 2/3. m: F1 of no 1/2, of yes 0.
    assert (women.score, men.score) == pytest.approx((2 / 3, 1 / 4))
    assert found.gaps["score"] == pytest.approx(5 / 12)
    assert women.remark == "fewer than 30 rows: its figures may be chance"


def test_terms_by_hand() -> None:
    """A text counts in each group that it mentions by a whole word; the others are a group of their own."""
    rows, given = answers()
    gender = next(each for each in groupings(rows, [], read_terms("builtin")) if each.by == "gender")
    assert {name: numpy.flatnonzero(each).tolist() for name, each in gender.members.items()} == {
        "women": [0, 3, 5],
        "men": [1, 5],
        "no term": [2, 4],
    }
    found = {each.name: each for each in fairness("dev", given, gender).groups}
    assert (found["women"].accuracy, found["men"].accuracy, found["no term"].accuracy) == pytest.approx(
        (2 / 3, 1 / 2, 1 / 2)
    )


def test_rate_without_rows() -> None:
    """Where all rows of a group have a label nobody can wrongly get it, and the gap leaves the group out."""
    rows, given = answers({"g": ["", "b", "b", "b", "", "b"]})
    (grouping,) = groupings(rows, ["g"], {})
    assert list(grouping.members) == ["no value", "b"]
    found = fairness("dev", given, grouping)
    assert found.groups[0].false_positive_rate == {"no": 0.5, "yes": None}
    assert found.groups[1].false_positive_rate == {"no": None, "yes": 0.5}
    assert found.gaps["false_positive_rate"] == 0


def test_numbers_have_a_score_alone() -> None:
    """Groups of numbers have no accuracy and no rates."""
    rows = Labelled("dev", "regression", TEXTS, [1.0, 2.0, 3.0, 4.0, 5.0, 6.0], [*range(6)], groups={"g": [*"aaabbb"]})
    given = Answers(rows, numpy.array([[1.0], [2.0], [4.0], [5.0], [4.0], [3.0]]), numpy.arange(1.0, 7.0), ["label"])
    (grouping,) = groupings(rows, ["g"], {})
    found = fairness("dev", given, grouping)
    assert (found.groups[0].accuracy, found.groups[0].selection_rate, found.label) == (None, {}, None)
    assert found.groups[1].score == pytest.approx(-1)
    assert list(found.gaps) == ["score"]


@pytest.mark.parametrize(
    ("text", "expected"), [("SHE said", True), ("the sheep", False), ("non-binary!", True), ("", False)]
)
def test_mentions(text: str, expected: bool) -> None:
    """Words count whole, in any case."""
    assert mentions(text, ["she", "non-binary"]) == expected


def test_own_terms(tmp_path: Path) -> None:
    """A JSON object of lists of words takes the place of the list; anything else is one line."""
    path = tmp_path / "terms.json"
    path.write_text('{"nurses": ["nurse", "nurses"]}')
    assert read_terms(str(path)) == {"identity terms": {"nurses": ["nurse", "nurses"]}}
    for content in ("[]", "{}", '{"a": []}', '{"a": "b"}', '{"a": [" "]}'):
        path.write_text(content)
        with pytest.raises(UserError, match="is no JSON object of group names and lists of words"):
            read_terms(str(path))
    path.write_text("{")
    with pytest.raises(UserError, match="no JSON in UTF-8"):
        read_terms(str(path))
    with pytest.raises(UserError, match="no such file; builtin is the list"):
        read_terms("nowhere.json")


def test_columns_are_read(tmp_path: Path) -> None:
    """Values of a group column are strings, an empty one where there is none; they follow the rows that are taken."""
    path = tmp_path / "rows.csv"
    path.write_text("text,label,age\na,x,30\nb,y,\nc,x,old\n")
    found = read_labelled(path, Columns(), groups=["age"])
    assert found.groups == {"age": ["30", "", "old"]}
    assert found.take([2, 0]).groups == {"age": ["old", "30"]}
    assert found.sha256() == read_labelled(path, Columns()).sha256()
    with pytest.raises(UserError, match=r"has no column 'sex'; it has 'text', 'label', 'age': .*--fairness-column$"):
        read_labelled(path, Columns(), groups=["sex"])


def write(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def test_from_the_command_line(
    run: Run, tmp_path: Path, separable: Callable[..., Any], capsys: pytest.CaptureFixture[str]
) -> None:
    """Groups of dev, which is cut from train, by a column and by terms are in training.json and in print."""
    rows = [
        {"text": text, "label": label, "site": "north" if number % 2 else "south"}
        for number, (text, label) in enumerate(separable(80))
    ]
    terms = tmp_path / "terms.json"
    terms.write_text('{"good things": ["good"]}')
    options = {"fairness_column": ["site"], "identity_terms": str(terms), "dev_fraction": 0.3, "folds": 2}
    output = run(train=write(tmp_path / "all.jsonl", rows), dev=None, epochs=1, **options)
    by_site, by_term = json.loads((output / "training.json").read_text())["fairness"]
    assert (by_site["split"], by_site["groups_by"], by_site["metric"]) == ("dev", "site", "macro_f1")
    assert [each["name"] for each in by_site["groups"]] == ["north", "south"]
    assert sum(each["rows"] for each in by_site["groups"]) == 24
    assert by_term["groups_by"] == "identity terms"
    assert {each["name"] for each in by_term["groups"]} == {"good things", "no term"}
    printed = capsys.readouterr().out
    assert "site of dev" in printed
    assert "largest difference" in printed


def test_needs_fairlearn(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without fairlearn the extra is named before anything is trained."""
    monkeypatch.setattr("bertwire_trainer.trust.options.find_spec", lambda _: None)
    with pytest.raises(UserError, match=r"^--identity-terms needs fairlearn: pip install '.\[report\]'"):
        run(identity_terms="builtin")
