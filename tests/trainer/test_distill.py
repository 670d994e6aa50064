"""Distillation: the loss, what teachers are asked, and how it goes on."""

import json
import shutil
from collections.abc import Callable
from math import exp, log
from pathlib import Path
from typing import Any

import numpy
import pytest
import torch
from safetensors.torch import load_file
from transformers import BertTokenizer

from bertwire_core.errors import UserError
from bertwire_core.tasks import Task
from bertwire_data.labelled import Columns, read_labelled
from bertwire_trainer.config import TrainConfig
from bertwire_trainer.loop.loss import make_loss
from bertwire_trainer.loop.progress import EpochBars
from bertwire_trainer.prepare import prepare
from bertwire_trainer.record import TrainingRecord
from bertwire_trainer.soft_targets import SoftTargets
from bertwire_trainer.tasks.cross_entropy import IGNORED
from bertwire_trainer.teachers import Teacher, teach
from rows import ROWS, write

Run = Callable[..., Path]
Rows = list[tuple[str, str]]
WriteRows = Callable[[str, Rows], Path]
Separable = Callable[..., Rows]
Made = tuple[dict[str, Path], Path]


@pytest.fixture
def teacher(run: Run, tmp_path: Path) -> Path:
    """A checkpoint that knows the separable rows."""
    return run(output=tmp_path / "teacher", epochs=6)


def record(output: Path) -> TrainingRecord:
    return TrainingRecord.model_validate_json((output / "training.json").read_bytes())


def soft(task: Task, targets: Any, means: Any, **options: float) -> SoftTargets:  # noqa: ANN401 - nested lists
    given = {"temperature": 2.0, "soft_weight": 1.0, "hard_weight": 0.0} | options
    return SoftTargets(task, numpy.array(targets), numpy.array(means, numpy.float32), **given)


def value(loss: SoftTargets, logits: Any, places: Any) -> float:  # noqa: ANN401 - nested lists
    return loss(torch.tensor(logits), torch.tensor(places), None, 0.0).item()


def test_one_label() -> None:
    """T^2 times the KL divergence at the temperature, plus the weight times the cross-entropy of labelled rows."""
    means = [[0.25, 0.75], [0.5, 0.5]]
    # Logits over 2: log 3 and 0, so that the student's probabilities are 3/4 and 1/4.
    logits = [[2 * log(3), 0.0]]
    apart = 0.25 * log(0.25 / 0.75) + 0.75 * log(0.75 / 0.25)
    assert value(soft("single_label", [1], means), logits, [0]) == pytest.approx(4 * apart, rel=1e-5)
    # Without the temperature the probability of label 1 is 1/10.
    both = value(soft("single_label", [1], means, hard_weight=0.5), logits, [0])
    assert both == pytest.approx(4 * apart + 0.5 * log(10), rel=1e-5)
    unlabelled = 0.5 * log(0.5 / 0.75) + 0.5 * log(0.5 / 0.25)
    assert value(soft("single_label", [1], means, hard_weight=0.5), logits, [1]) == pytest.approx(
        4 * unlabelled, rel=1e-5
    )


def test_several_labels() -> None:
    """The divergences of both outcomes of each label are summed; the loop divides by texts and labels."""
    means = [[0.25, 1.0]]
    logits = [[2 * log(3), 0.0]]
    apart = 0.25 * log(0.25 / 0.75) + 0.75 * log(0.75 / 0.25) + log(1 / 0.5)
    loss = soft("multi_label", [[0.0, 1.0]], means)
    assert value(loss, logits, [[0, 0]]) == pytest.approx(4 * apart, rel=1e-5)
    hard = log(1 + exp(2 * log(3))) + log(2)
    both = soft("multi_label", [[0.0, 1.0]], means, hard_weight=2.0)
    assert value(both, logits, [[0, 0]]) == pytest.approx(4 * apart + 2 * hard, rel=1e-5)
    mean = make_loss("multi_label", None, 0.0, summed=loss)({"logits": torch.tensor(logits)}, torch.tensor([[0, 0]]))
    assert mean.item() == pytest.approx(4 * apart / 2, rel=1e-5)


def test_numbers() -> None:
    """The squared error, whatever the temperature."""
    loss = soft("regression", [1.0], [[3.0 / 2]], hard_weight=0.5)
    assert value(loss, [[5.0]], [0]) == pytest.approx(2**2 + 0.5 * 4**2)


def test_tags() -> None:
    """Pieces that stand for no word do not count, nor does the teacher where its text was cut."""
    nan = float("nan")
    loss = soft("token_classification", [0, 1], [[0.25, 0.75], [nan, nan]], hard_weight=1.0)
    logits = [[[9.0, 0.0], [2 * log(3), 0.0], [0.0, 0.0], [7.0, 0.0]]]
    apart = 0.25 * log(0.25 / 0.75) + 0.75 * log(0.75 / 0.25)
    hard = log(10 / 9) + log(2)
    found = value(loss, logits, [[IGNORED, 0, 1, IGNORED]])
    assert found == pytest.approx(4 * apart + hard, rel=1e-5)


def test_no_row_with_a_label() -> None:
    """A batch of unlabelled rows has a loss and a gradient."""
    logits = torch.zeros(1, 2, requires_grad=True)
    loss = soft("single_label", [1], [[0.5, 0.5], [0.9, 0.1]], hard_weight=1.0)
    loss(logits, torch.tensor([1]), None, 0.0).backward()
    assert logits.grad is not None
    # T^2 (softmax(0) - means) / T
    torch.testing.assert_close(logits.grad, 2 * torch.tensor([[-0.4, 0.4]]))


def test_probabilities_of_an_ensemble_are_averaged(run: Run, teacher: Path, tmp_path: Path) -> None:
    """By label name, at the temperature; the file is read again as it is."""
    other = run(output=tmp_path / "other", seed=7)
    rows = read_labelled(tmp_path / "dev.jsonl", Columns())
    labels = ["positive", "negative"]
    teachers = [Teacher(each, record(each)) for each in (teacher, other)]
    found = teach(tmp_path / "means.npy", teachers, labels, rows, 2.0, "teacher")
    expected = []
    for checkpoint in (teacher, other):
        lines = (checkpoint / "predictions" / "dev.jsonl").read_text().splitlines()
        logits = torch.tensor([json.loads(line)["logits"] for line in lines])
        expected.append((logits / 2).softmax(dim=-1).flip(-1))
    numpy.testing.assert_allclose(found, (expected[0] + expected[1]) / 2, atol=1e-6)
    again = teach(tmp_path / "means.npy", [], labels, rows, 2.0, "teacher")
    numpy.testing.assert_array_equal(found, again)


def test_student_learns_from_unlabelled_texts(
    run: Run, teacher: Path, tmp_path: Path, write_rows: WriteRows, separable: Separable
) -> None:
    """With wrong labels in train that do not count, it is as its teacher; the record has no path."""
    wrong = [(text, "negative" if label == "positive" else "positive") for text, label in separable(48)]
    texts = tmp_path / "more.txt"
    texts.write_text("\n".join(text for text, _ in separable(96, 1000)))
    options = {"teacher": [teacher], "distill_texts": [texts], "distill_hard_weight": 0.0, "epochs": 6}
    output = run(method="distill", train=write_rows("wrong.jsonl", wrong), **options)
    found = record(output)
    assert found.metrics["dev"]["accuracy"] > 0.9
    assert (found.recipe["distill_temperature"], found.recipe["teacher"][0]["source"]) == (2.0, "teacher")
    assert found.recipe["distill_texts"][0]["source"] == "more.txt"
    assert str(tmp_path) not in (output / "training.json").read_text()


@pytest.fixture
def made(run: Run, tmp_path: Path) -> Callable[[str], Made]:
    """Returns rows of a task and a teacher of it."""

    def make(kind: str) -> Made:
        ranges = {"train": range(24), "dev": range(24, 36)}
        files = {name: write(tmp_path / f"{name}-{kind}.jsonl", ROWS[kind], each) for name, each in ranges.items()}
        return files, run(**files, output=tmp_path / "teacher", epochs=1)

    return make


@pytest.mark.parametrize("kind", ROWS)
def test_tasks(run: Run, made: Callable[[str], Made], tmp_path: Path, kind: str) -> None:
    """Every task is distilled, from texts without labels too unless it reads pairs, into a smaller student."""
    files, teacher = made(kind)
    texts = tmp_path / "texts.txt"
    texts.write_text("w1 good, bad\nw2 bad\n")
    more = {} if kind == "pairs" else {"distill_texts": [texts]}
    output = run(**files, method="distill", teacher=[teacher, teacher], prune=True, prune_layers=1, epochs=1, **more)
    assert record(output).method == "distill"
    assert len({name.split(".")[3] for name in load_file(output / "model.safetensors") if ".layer." in name}) == 1


@pytest.mark.parametrize("kind", ["token_classification", "pairs"])
def test_teacher_with_another_tokenizer(
    run: Run, made: Callable[[str], Made], tiny: Path, tmp_path: Path, kind: str
) -> None:
    """What it says is of texts, or of words, not of its pieces."""
    files, teacher = made(kind)
    student = Path(shutil.copytree(tiny, tmp_path / "student"))
    vocabulary = [*json.loads((tiny / "tokenizer.json").read_text())["model"]["vocab"]]
    turned = {word: number for number, word in enumerate([*vocabulary[:5], *reversed(vocabulary[5:])])}
    BertTokenizer(turned).save_pretrained(student)
    output = run(**files, method="distill", model=str(student), teacher=[teacher], epochs=1)
    assert record(output).base_model == "student"


@pytest.mark.parametrize("options", [{"r_drop": 1.0}, {"fgm": 0.1}, {"class_weights": "balanced", "seeds": 2}])
def test_with_options_of_the_loop(run: Run, teacher: Path, options: dict[str, Any]) -> None:
    """The loop's other losses go with it."""
    assert record(run(method="distill", teacher=[teacher], epochs=1, **options)).recipe["teacher"]


def test_interrupted(run: Run, teacher: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C in the second epoch, then --resume, gives the same weights; the teacher is not asked again."""
    options = {"method": "distill", "teacher": [teacher], "epochs": 3}
    whole = run(output=tmp_path / "whole", **options)

    def press(_: EpochBars, __: object, state: Any, *___: object, **____: object) -> None:  # noqa: ANN401
        if state.global_step == 8:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(EpochBars, "on_step_end", press)
        with pytest.raises(KeyboardInterrupt):
            run(**options)
    kept = tmp_path / "out.partial" / "epochs" / "distill" / "means.npy"
    written = kept.stat().st_mtime_ns
    monkeypatch.setattr("bertwire_trainer.teachers.load_trained", lambda *_: pytest.fail("the teacher is asked again"))
    assert kept.stat().st_mtime_ns == written
    one, other = (load_file(output / "model.safetensors") for output in (whole, run(resume=True, **options)))
    for name, tensor in one.items():
        torch.testing.assert_close(other[name], tensor, atol=1e-6, rtol=0)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"teacher": []}, "^--method distill needs --teacher, a checkpoint"),
        ({"teacher": [Path("absent")]}, "^absent: no such checkpoint; bertwire train writes one$"),
        ({"teacher": [Path("teacher")], "distill_texts": [Path("absent.txt")]}, "^absent.txt: no such file$"),
        ({"teacher": [Path("teacher")], "train": Path("three.jsonl")}, "lacks label 'other', which three.jsonl has"),
        ({"teacher": [Path("teacher")], "text_pair_column": "label"}, "reads single texts, unlike train.jsonl; see"),
        (
            {"teacher": [Path("teacher")], "train": Path("several.jsonl")},
            "is for single_label; several.jsonl is for multi",
        ),
        ({"method": "full", "teacher": [Path("teacher")]}, "^--teacher is an option of --method distill; this is full"),
    ],
)
def test_faulty_options(
    teacher: Path,
    write_rows: WriteRows,
    separable: Separable,
    monkeypatch: pytest.MonkeyPatch,
    options: dict[str, Any],
    message: str,
) -> None:
    """Faults are one line."""
    monkeypatch.chdir(teacher.parent)
    write(Path("several.jsonl"), ROWS["multi_label"], range(24))
    write_rows("three.jsonl", [*separable(24), ("w1", "other"), ("w2", "other")])
    given = {"method": "distill", "train": Path("train.jsonl"), "output": Path("out")}
    with pytest.raises(UserError, match=message):
        prepare(TrainConfig(**(given | options)))
