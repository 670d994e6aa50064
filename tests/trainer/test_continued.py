"""Going on from an older checkpoint: its labels, its head, what keeps it from forgetting, and how it goes on."""

import json
import shutil
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy
import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from bertwire_core.errors import UserError
from bertwire_data.labelled import Labelled
from bertwire_trainer.config import TrainConfig
from bertwire_trainer.loop.loss import make_loss
from bertwire_trainer.loop.progress import EpochBars
from bertwire_trainer.prepare import prepare
from bertwire_trainer.record import TrainingRecord
from bertwire_trainer.stages.continued.consolidation import Consolidation
from bertwire_trainer.stages.continued.drawing import draw
from bertwire_trainer.tasks import SPECS
from rows import ROWS, write

Run = Callable[..., Path]
Rows = list[tuple[str, str]]
WriteRows = Callable[[str, Rows], Path]
Separable = Callable[..., Rows]


def record(output: Path) -> TrainingRecord:
    return TrainingRecord.model_validate_json((output / "training.json").read_bytes())


def weights(output: Path) -> dict[str, torch.Tensor]:
    return load_file(output / "model.safetensors")


@pytest.fixture(scope="module")
def once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the old checkpoint lies once the first test has trained it."""
    return tmp_path_factory.mktemp("once") / "old"


@pytest.fixture
def old(run: Run, once: Path, tmp_path: Path) -> Path:
    """A checkpoint that knows the labels negative and positive."""
    if not once.exists():
        run(output=once, epochs=6)
    return Path(shutil.copytree(once, tmp_path / "old"))


@pytest.fixture
def new(write_rows: WriteRows) -> dict[str, Path]:
    """Rows of two other labels, which show in a word each: one before the old labels in natural order, one after."""

    def rows(count: int, first: int) -> Rows:
        kinds = (("w80", "zebra"), ("w81", "ape"))
        return [(f"w{number % 70} {word}", label) for number in range(first, first + count) for word, label in kinds]

    return {"train": write_rows("new.jsonl", rows(24, 0)), "dev": write_rows("newdev.jsonl", rows(8, 100))}


@pytest.fixture
def go_on(run: Run, old: Path, new: dict[str, Path], tmp_path: Path) -> Run:
    """Returns a function that goes on from the checkpoint with the new rows."""

    def start(**options: Any) -> Path:  # noqa: ANN401 - any option of the command
        given = {"continued": old, "continued_dev": tmp_path / "dev.jsonl", "epochs": 6, "model": "minilm"}
        return run(**(new | given | options))

    return start


def test_old_labels_come_first(go_on: Run, old: Path, tmp_path: Path) -> None:
    """In their order, then the new ones; the record names the checkpoint and what was forgotten, and no path."""
    found = record(go_on(epochs=1))
    assert found.labels == ["negative", "positive", "ape", "zebra"]
    assert found.base_model == "old"
    stage = found.stages["continued"]
    assert (stage["continued"]["source"], stage["new_labels"]) == ("old", ["ape", "zebra"])
    before = record(old).metrics["dev"]
    assert stage["forgotten"]["before"] == pytest.approx(before, abs=1e-5)
    drop = before["macro_f1"] - stage["forgotten"]["after"]["macro_f1"]
    assert stage["forgotten"]["drop"] == pytest.approx(drop, abs=1e-5)
    assert str(tmp_path) not in (tmp_path / "out" / "training.json").read_text()


@pytest.mark.parametrize("options", [{}, {"pooling": "mean"}, {"pooling": "first", "pooler": True}])
def test_head_keeps_its_rows(run: Run, go_on: Run, options: dict[str, Any], tmp_path: Path) -> None:
    """At a learning rate of almost 0 the old labels have the logits that they had, whatever the head reads."""
    old = run(output=tmp_path / "other", epochs=1, **options)
    output = go_on(continued=old, learning_rate=1e-12, epochs=1, dropout=0)
    before, after = weights(old), weights(output)
    assert before.keys() == after.keys()
    for name, tensor in before.items():
        torch.testing.assert_close(after[name][: len(tensor)], tensor, atol=1e-6, rtol=0)
    assert sum(after[name].shape != tensor.shape for name, tensor in before.items()) == 2
    assert (record(output).pooling is None) == (not options)


@pytest.mark.parametrize("method", ["full", "lora", "ia3"])
def test_rehearsal(go_on: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str], method: str) -> None:
    """Old rows keep the old labels, and the new ones are learned; without them the run says what it forgets."""
    rate = {"full": 3e-3, "lora": 1e-2, "ia3": 3e-2}[method]
    options = {"method": method, "learning_rate": rate, "epochs": 10, "patience": 10}
    naive = record(go_on(**options, output=tmp_path / "naive"))
    assert "nothing keeps old labels from being forgotten; see --continue-rehearsal" in capsys.readouterr().err
    kept = record(go_on(**options, continued_rehearsal=tmp_path / "train.jsonl"))
    drops = [each.stages["continued"]["forgotten"]["drop"] for each in (naive, kept)]
    assert drops[1] < drops[0] / 3
    assert kept.metrics["dev"]["accuracy"] > 0.6
    assert "continue: old rows of dev.jsonl: macro-F1 1.0000 before, " in capsys.readouterr().out


def test_old_answers(run: Run, tmp_path: Path) -> None:
    """Where the new rows do not have the old labels of their texts, the old model's answers stand for them."""

    def file(name: str, numbers: range, labels: Callable[[int], list[str]]) -> Path:
        rows = [{"text": f"w{number % 70} " + " ".join(_words(number)), "labels": labels(number)} for number in numbers]
        (tmp_path / name).write_text("".join(json.dumps(row) + "\n" for row in rows))
        return tmp_path / name

    first = {
        name: file(f"old-{name}.jsonl", each, _words) for name, each in (("train", range(48)), ("dev", range(60, 76)))
    }
    old = run(**first, output=tmp_path / "old", epochs=10, patience=10)
    zebras = file("new.jsonl", range(48), lambda number: ["zebra"] if number % 3 else [])
    dev = file("newdev.jsonl", range(60, 76), lambda number: [*_words(number), *["zebra"] * (number % 3 > 0)])
    given = {"train": zebras, "dev": dev, "model": "minilm", "continued": old, "continued_dev": first["dev"]}
    naive, kept = (
        record(run(**given, epochs=4, output=tmp_path / name, **more)).stages["continued"]["forgotten"]["drop"]
        for name, more in (("naive", {}), ("kept", {"continued_lwf": 4.0}))
    )
    assert kept < naive / 2


def _words(number: int) -> list[str]:
    return [name for place, name in enumerate(("good", "bad")) if number >> place & 1]


@pytest.mark.parametrize("kind", ROWS)
def test_tasks(run: Run, tmp_path: Path, kind: str) -> None:
    """Every task goes on, with all that keeps it from forgetting."""
    ranges = {"train": range(24), "dev": range(24, 36)}
    files = {name: write(tmp_path / f"{name}-{kind}.jsonl", ROWS[kind], each) for name, each in ranges.items()}
    old = run(**files, output=tmp_path / "old", epochs=1)
    options = {
        "continued": old,
        "continued_rehearsal": files["train"],
        "continued_rehearsal_count": 5,
        "continued_dev": files["dev"],
        "continued_lwf": 1.0,
        "continued_ewc": 10.0,
    }
    found = record(run(**files, **options, model="minilm", epochs=1))
    assert found.labels == record(old).labels
    assert found.stages["continued"]["rehearsed"] == 5


def test_new_tags(run: Run, tmp_path: Path) -> None:
    """The tags of a new entity come after the old ones."""
    old = run(
        **{
            name: write(tmp_path / f"{name}.jsonl", ROWS["token_classification"], range(24))
            for name in ("train", "dev")
        },
        output=tmp_path / "old",
        epochs=1,
    )
    rows = [{"tokens": ["w1", "w7", "w8", "w2"], "tags": ["O", "B-a", "I-a", "O"]} for _ in range(12)]
    path = tmp_path / "new.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    found = record(run(train=path, dev=path, continued=old, continued_lwf=1.0, model="minilm", epochs=1))
    assert found.labels == ["O", "B-x", "I-x", "B-a", "I-a"]


def test_no_new_label(go_on: Run, tmp_path: Path) -> None:
    """A checkpoint goes on with more rows of its labels."""
    files = {name: tmp_path / f"{name}.jsonl" for name in ("train", "dev")}
    found = record(go_on(**files, epochs=1))
    assert found.labels == ["negative", "positive"]
    assert found.metrics["dev"]["accuracy"] == 1.0


def test_elastic_weights(go_on: Run, tmp_path: Path, old: Path) -> None:
    """With a large penalty the weights that the old rows need stay; the rows of the head for new labels are free."""
    options = {"continued_rehearsal": tmp_path / "train.jsonl", "continued_rehearsal_count": 0, "epochs": 3}
    loose, tight = (
        weights(go_on(**options, continued_ewc=size, output=tmp_path / f"ewc-{size}")) for size in (1e-9, 1e9)
    )
    before = weights(old)
    names = [name for name in before if name.endswith("query.weight")]
    moved = [sum(float((each[name] - before[name]).norm()) for name in names) for each in (loose, tight)]
    assert moved[1] < moved[0]
    assert not torch.equal(tight["classifier.weight"][2:], loose["classifier.weight"][2:])


def test_penalty() -> None:
    """Half of its size times the squared change times the information, once for the mean over a step."""
    model: Any = nn.Linear(2, 1, bias=False)
    nn.init.constant_(model.weight, 1.0)
    loss = Consolidation(model, SPECS["regression"].loss, {"weight": torch.tensor([[0.5, 2.0]])}, 10.0)
    with torch.no_grad():
        model.weight += torch.tensor([[2.0, -1.0]])
    # 10 / 2 * (0.5 * 4 + 2 * 1) beside errors of 1 and 3, squared.
    logits, targets = torch.tensor([[1.0], [3.0]]), torch.tensor([0.0, 0.0])
    mean = make_loss("regression", None, 0.0, summed=loss)
    assert mean({"logits": logits}, targets).item() == pytest.approx(20 + (1 + 9) / 2)
    # In two passes of one step, as accumulation and parts of a batch make them.
    parts = [mean({"logits": logits[row : row + 1]}, targets[row : row + 1], torch.tensor(2)) for row in range(2)]
    assert sum(parts).item() == pytest.approx(20 + (1 + 9) / 2)  # type: ignore[union-attr]


def test_rehearsed_rows_are_balanced() -> None:
    """Of each label in turn one, whatever their shares; the same seed draws the same."""
    targets = ["a"] * 50 + ["b"] * 5 + ["c"] * 2
    rows = Labelled("x", "single_label", [f"text {place}" for place in range(57)], targets, [*range(1, 58)])
    drawn = draw(rows, 12, 0)
    assert Counter(drawn.names()) == {"a": 5, "b": 5, "c": 2}
    assert drawn.inputs == draw(rows, 12, 0).inputs
    assert drawn.inputs != draw(rows, 12, 1).inputs
    assert len(draw(rows, None, 0)) == len(draw(rows, 99, 0)) == 57
    assert len(draw(rows, 0, 0)) == 0


def test_rehearsed_rows_without_labels() -> None:
    """Texts without a label, and numbers, are drawn too, each once."""
    several = Labelled("x", "multi_label", ["t"] * 6, [[], ["a", "b"], ["a"], [], ["b"], ["a"]], [*range(1, 7)])
    assert Counter(map(tuple, numpy.array(draw(several, 3, 0).targets, dtype=object))).total() == 3
    assert len({*draw(several, 5, 0).rows}) == 5
    numbers = Labelled("x", "regression", ["t"] * 6, [0.0, 1.0, 2.0, 3.0, 4.0, 5.0], [*range(1, 7)])
    assert len({*draw(numbers, 4, 0).rows}) == 4


def test_interrupted(go_on: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C in the second epoch, then --resume, gives the same weights."""
    options = {
        "continued_rehearsal": tmp_path / "train.jsonl",
        "continued_rehearsal_count": 8,
        "continued_lwf": 1.0,
        "continued_ewc": 10.0,
        "epochs": 3,
    }
    whole = go_on(output=tmp_path / "whole", **options)

    def press(_: EpochBars, __: object, state: Any, *___: object, **____: object) -> None:  # noqa: ANN401
        if state.global_step == 9:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(EpochBars, "on_step_end", press)
        with pytest.raises(KeyboardInterrupt):
            go_on(**options)
    resumed = go_on(resume=True, **options)
    for name, tensor in weights(whole).items():
        torch.testing.assert_close(weights(resumed)[name], tensor, atol=1e-6, rtol=0)
    assert record(whole).stages == record(resumed).stages


def test_with_other_stages(go_on: Run) -> None:
    """Its rows are what other stages make of train, and its model what they make of the encoder."""
    more = {"augment": ["swap"], "augment_copies": 1, "prune": True, "prune_width": 0.5}
    found = record(go_on(**more, continued_lwf=1.0, epochs=1))
    assert [*found.stages] == ["prune", "augment", "continued"]


@pytest.mark.usefixtures("new")
@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"continued": Path("absent")}, "^absent: no such checkpoint; bertwire train writes one$"),
        ({"continued": None}, "^--continue-lwf needs --continue$"),
        ({"model": "tiny"}, "^--model tiny: the run goes on from old; leave out one of both$"),
        (
            {"max_length": 24},
            "^old reads 16 tokens and cuts on the right; go on with --max-length 16 --truncation-side",
        ),
        ({"pooling": "mean"}, "^--pooling, --pooler, --normalize: the head of old stays as it is; leave them out$"),
        ({"method": "frozen"}, "^--continue is for --method full, lora, ia3, which keep the old head; not frozen$"),
        (
            {"method": "lora", "continued_ewc": 1.0, "continued_rehearsal": Path("train.jsonl")},
            "^--continue-ewc is for --method full, which trains the weights themselves; not lora$",
        ),
        ({"continued_ewc": 1.0}, "^--continue-ewc needs --continue-rehearsal$"),
        ({"continued_rehearsal": Path("absent.jsonl")}, "absent.jsonl: no such file"),
        ({"continued_rehearsal": Path("new.jsonl")}, "^new.jsonl has label 'ape', which old does not know; it must"),
        ({"continued_dev": Path("new.jsonl")}, "^new.jsonl has label 'ape', which old does not know; it must"),
        ({"train": Path("several.jsonl")}, "^--continue old is for single_label; several.jsonl is for multi_label$"),
        (
            {"text_pair_column": "text"},
            "^--continue old reads single texts, unlike train.jsonl; see --text-pair-column$",
        ),
    ],
)
def test_faulty_options(old: Path, monkeypatch: pytest.MonkeyPatch, options: dict[str, Any], message: str) -> None:
    """Faults are one line."""
    monkeypatch.chdir(old.parent)
    write(Path("several.jsonl"), ROWS["multi_label"], range(24))
    given: dict[str, Any] = {"train": Path("train.jsonl"), "output": Path("out"), "continued": Path("old")}
    given["continued_lwf"] = 1.0
    given["max_length"] = 16
    with pytest.raises(UserError, match=message):
        prepare(TrainConfig(**(given | options)))
