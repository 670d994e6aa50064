"""Augmentation: which rows are added to train, and what stays as it is."""

import json
import re
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, cast

import pytest

from bertwire_core.errors import UserError
from bertwire_data.labelled import Labelled
from bertwire_trainer.config import TrainConfig
from bertwire_trainer.data import Data
from bertwire_trainer.method import Job
from bertwire_trainer.prepare import prepare
from checkpoints import record, weights
from rows import ROWS, write

Run = Callable[..., Path]
Interrupted = Callable[[int], AbstractContextManager[None]]
Rows = list[tuple[str, str]]
WriteRows = Callable[[str, Rows], Path]
Separable = Callable[..., Rows]
Learnt = Callable[..., Data]


@pytest.fixture
def learnt(handed: Callable[..., Job]) -> Learnt:
    """The rows that a run with given options hands to its method; it ends there."""

    def start(**options: Any) -> Data:  # noqa: ANN401 - any option of the command
        job = handed(**options)
        assert len(job.tokens["train"]) == len(job.data.train)
        return job.data

    return start


@pytest.fixture
def synonyms(tmp_path: Path) -> Path:
    path = tmp_path / "synonyms.json"
    path.write_text(json.dumps({"good": ["fine", "great"], "W1": ["w2"]}))
    return path


def script(tmp_path: Path, body: str) -> str:
    """A command that runs `body` for the `texts` of its input."""
    path = tmp_path / "rewrite.py"
    path.write_text(f"import json, sys\ntexts = [json.loads(line) for line in sys.stdin]\n{body}\n")
    return f"{sys.executable} '{path}'"


APPEND = "for text in texts: print(json.dumps(text + ' w9'))"


def parts(data: Data, rows: int = 48) -> tuple[Labelled, Labelled]:
    """The rows of the file, and those that were added."""
    return data.train.take(range(rows)), data.train.take(range(rows, len(data.train)))


def changes(data: Data) -> list[tuple[list[str], list[str]]]:
    """The words of each row and of its copy, which has its label and number."""
    rows, copies = parts(data)
    given = {row: (text, target) for row, text, target in zip(rows.rows, rows.inputs, rows.targets, strict=True)}
    assert all(given[row][1] == target for row, target in zip(copies.rows, copies.targets, strict=True))
    texts = zip(copies.rows, cast(list[str], copies.inputs), strict=True)
    return [(cast(str, given[row][0]).split(), text.split()) for row, text in texts]


def test_delete(learnt: Learnt) -> None:
    """A copy lacks a share of the words, one at least; the file's rows, dev and test stay as they are."""
    plain, data = learnt(), learnt(augment=["delete"], augment_share=0.4)
    assert (data.dev, data.test, data.labels) == (plain.dev, plain.test, plain.labels)
    assert parts(data)[0] == plain.train
    found = changes(data)
    assert len(found) > 24
    for before, after in found:
        assert len(before) - len(after) == max(1, round(0.4 * len(before)))
        words = iter(before)
        assert all(word in words for word in after)


def test_swap(learnt: Learnt) -> None:
    """A copy has the same words in another order."""
    found = changes(learnt(augment=["swap"]))
    assert len(found) > 24
    assert all(sorted(before) == sorted(after) and before != after for before, after in found)


def test_synonyms(learnt: Learnt, synonyms: Path, write_rows: WriteRows) -> None:
    """Words of the file, in any case, become one of their synonyms; signs and capitals stay."""
    rows = [("Good, w3!", "positive"), ("(w1) w4", "negative")]
    rows += [(f"w{n} x", ("positive", "negative")[n % 2]) for n in range(10, 56)]
    data = learnt(train=write_rows("signs.jsonl", rows), augment=["synonyms"], augment_synonyms=synonyms)
    texts = parts(data)[1].inputs
    assert texts in (["Fine, w3!", "(w2) w4"], ["Great, w3!", "(w2) w4"])


def test_mask(learnt: Learnt, tiny_masked: Path) -> None:
    """Words are replaced, each at its place, by others that the head predicts."""
    found = changes(learnt(model=str(tiny_masked), augment=["mask"], augment_share=0.3, max_length=8))
    assert len(found) > 24
    for before, after in found:
        differ = [place for place, words in enumerate(zip(before, after, strict=True)) if words[0] != words[1]]
        assert 1 <= len(differ) <= max(1, round(0.3 * len(before)))
        assert all(re.fullmatch(r"\w+", after[place]) for place in differ)


def test_mask_on_the_side_that_is_kept(learnt: Learnt, tiny_masked: Path, write_rows: WriteRows) -> None:
    """In a text that is too long the words that the encoder reads are replaced, on whichever side it is cut."""
    rows = [(" ".join(f"w{(n + m) % 90}" for m in range(12)), ("positive", "negative")[n % 2]) for n in range(48)]
    options = {"model": str(tiny_masked), "augment": ["mask"], "augment_share": 0.9, "max_length": 6}
    for side, read in (("left", range(8, 12)), ("right", range(4))):
        found = changes(learnt(train=write_rows("long.jsonl", rows), truncation_side=side, **options))
        differ = {n for before, after in found for n in range(12) if before[n] != after[n]}
        assert differ == set(read)


def test_mask_without_a_head(run: Run) -> None:
    """A checkpoint without the head is refused with the reason."""
    with pytest.raises(UserError, match=r"^--augment mask: tiny-bert has no masked-language-modelling head; choose"):
        run(augment=["mask"])


def test_command(learnt: Learnt, tmp_path: Path) -> None:
    """The command's texts are added, each with the label of its row."""
    found = changes(learnt(augment=["command"], augment_command=script(tmp_path, APPEND)))
    assert len(found) == 48
    assert all(after == [*before, "w9"] for before, after in found)


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("for text in texts[1:]: print(json.dumps(text))", "wrote 47 lines for 48 texts; it must write one each"),
        ("for text in texts: print(text)", "line 1 of what it wrote is no JSON string that is not blank"),
        ("for text in texts: print(json.dumps([text]))", "line 1 of what it wrote is no JSON string"),
        ("for text in texts: print(json.dumps(' '))", "line 1 of what it wrote is no JSON string"),
        ("for text in texts: print(json.dumps(chr(0xd800)))", "line 1 of what it wrote is no JSON string"),
        ("sys.exit(3)", "failed with status 3"),
        ("for text in texts: print(json.dumps(text))", "--augment made no text that is new of the 48 of train.jsonl"),
    ],
)
def test_faulty_commands(run: Run, tmp_path: Path, body: str, message: str) -> None:
    """What a command writes is checked: as many texts, strings, not blank, and some of them new."""
    with pytest.raises(UserError, match=message):
        run(augment=["command"], augment_command=script(tmp_path, body))


def test_copies_are_new_texts(learnt: Learnt, tmp_path: Path, separable: Separable) -> None:
    """No copy is a text of train, dev or test, nor of another copy."""
    command = script(tmp_path, f"for text in texts: print(json.dumps({separable(16, 100)[0][0]!r}))")
    data = learnt(augment=["swap", "command"], augment_command=command, augment_copies=3)
    texts = parts(data)[1].inputs
    assert len({*texts, *data.dev.inputs, *parts(data)[0].inputs}) == len(texts) + 16 + 48
    assert len(texts) > 60


def test_seed(learnt: Learnt) -> None:
    """The same seed gives the same copies, another one others."""
    options = {"augment": ["delete", "swap"], "augment_copies": 2}
    one, same, other = (learnt(seed=seed, **options).train for seed in (1, 1, 2))
    assert one == same
    assert one != other


@pytest.mark.parametrize("kind", ["multi_label", "regression"])
def test_other_tasks(learnt: Learnt, tmp_path: Path, kind: str) -> None:
    """Copies keep their row's labels or number, in the encoded targets too."""
    files = {name: write(tmp_path / f"{name}.jsonl", ROWS[kind], each) for name, each in FILES.items()}
    data = learnt(augment=["swap"], **files)
    rows, copies = parts(data, 32)
    given = dict(zip(rows.rows, rows.targets, strict=True))
    assert copies.targets == [given[row] for row in copies.rows]
    encoded = dict(zip(rows.rows, data.targets["train"].tolist(), strict=False))
    assert data.targets["train"].tolist()[32:] == [encoded[row] for row in copies.rows]


FILES = {"train": range(32), "dev": range(32, 48)}


def test_pairs(learnt: Learnt, tmp_path: Path) -> None:
    """Both texts of a pair are changed, and stay a pair."""
    files = {name: write(tmp_path / f"{name}.jsonl", ROWS["pairs"], each) for name, each in FILES.items()}
    data = learnt(augment=["command"], augment_command=script(tmp_path, APPEND), **files)
    rows, copies = parts(data, 32)
    assert copies.inputs == [(f"{one} w9", f"{other} w9") for one, other in cast(list[tuple[str, str]], rows.inputs)]
    assert copies.targets == rows.targets


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"augment_copies": 2}, "^--augment-copies needs --augment$"),
        ({"augment": ["synonyms"]}, "^--augment synonyms needs --augment-synonyms$"),
        ({"augment": ["swap"], "augment_synonyms": Path("a.json")}, "^--augment-synonyms needs --augment synonyms$"),
        (
            {"augment": ["command"], "augment_command": "cat", "augment_share": 0.2},
            "^--augment-share needs --augment delete or swap or mask or synonyms$",
        ),
        ({"augment": ["command"]}, "^--augment command needs --augment-command$"),
        ({"augment": ["command"], "augment_command": "no-such-program x"}, "there is no program 'no-such-program'$"),
        ({"augment": ["command"], "augment_command": " "}, "there is no program ''$"),
        ({"augment": ["command"], "augment_command": "a 'b"}, "No closing quotation"),
        ({"augment": ["swap"], "task": "token_classification"}, "^--augment is for .*; this is token_classification$"),
        ({"augment": ["synonyms"], "augment_synonyms": Path("absent.json")}, "cannot be read: No such file"),
    ],
)
def test_faulty_options(write_rows: WriteRows, separable: Separable, options: dict[str, Any], message: str) -> None:
    """Options that lack each other, or do not fit the task, are one line before PyTorch is loaded."""
    train = write_rows("train.jsonl", separable(24))
    with pytest.raises(UserError, match=message):
        prepare(TrainConfig(train=train, output=train.with_name("out"), **options))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "it is not JSON in UTF-8"),
        ("[]", "must hold one JSON object"),
        ('{"two words": ["x"]}', "'two words' is not a single word"),
        ('{"good": "fine"}', "'good' needs a list of texts that are not blank"),
        ('{"good": ["fine", " "]}', "'good' needs a list of texts that are not blank"),
    ],
)
def test_faulty_synonyms(
    write_rows: WriteRows, separable: Separable, synonyms: Path, content: str, message: str
) -> None:
    """A file that is no table of synonyms is refused with what is wrong in it."""
    synonyms.write_text(content)
    train = write_rows("train.jsonl", separable(24))
    options = {"augment": ["synonyms"], "augment_synonyms": synonyms}
    with pytest.raises(UserError, match=message):
        prepare(TrainConfig(train=train, output=train.with_name("out"), **options))


def test_interrupted(run: Run, interrupted: Interrupted, synonyms: Path, tmp_path: Path) -> None:
    """A resumed run has the result of an uninterrupted one, without the command's being run again; it is recorded."""
    calls = tmp_path / "calls"
    command = script(tmp_path, f"open({str(calls)!r}, 'a').write('x')\n{APPEND}")
    options = {"augment": ["synonyms", "command"], "augment_synonyms": synonyms, "augment_command": command}
    whole = run(output=tmp_path / "whole", **options)

    with interrupted(20):
        run(**options)
    with pytest.raises(UserError, match=r"other settings \(stages.augment.augment_share 0.1, now 0.2"):
        run(resume=True, augment_share=0.2, **options)
    resumed = run(resume=True, **options)
    assert calls.read_text() == "xx"
    one, other = map(weights, (whole, resumed))
    assert all((one[name] - other[name]).abs().max() < 1e-6 for name in one)
    found = record(resumed)
    assert found.data["train"].rows == 48 < found.stages["augment"]["rows"] <= 96
    assert found.stages["augment"]["augment_synonyms"]["source"] == "synonyms.json"
    assert str(tmp_path) not in (resumed / "training.json").read_text()
