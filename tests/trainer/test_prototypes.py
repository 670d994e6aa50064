"""Prototypes: the linear layer is the scaled means of the classes, with or without episodes before."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy
import pytest
import torch
from safetensors.torch import load_file

from bertwire_core.errors import UserError
from bertwire_core.pooled import PooledClassifier, load_pooled
from bertwire_core.pooling import Pooling
from bertwire_trainer.config import TrainConfig
from bertwire_trainer.loop.progress import EpochBars
from bertwire_trainer.meta.episodes import Shape
from bertwire_trainer.prepare import prepare
from bertwire_trainer.record import TrainingRecord
from bertwire_trainer.train import train_model
from rows import numbered, paired, several, tagged, write

Run = Callable[..., Path]
Rows = list[tuple[str, str]]
KINDS = ("good", "bad", "w7", "w8")


def texts(rows: range, kinds: tuple[str, ...] = KINDS) -> Rows:
    """Rows whose label shows in one word."""
    return [(f"w{20 + number % 60} {kinds[number % len(kinds)]}", kinds[number % len(kinds)]) for number in rows]


def save(path: Path, rows: Rows) -> Path:
    path.write_text("".join(json.dumps({"text": text, "label": label}) + "\n" for text, label in rows))
    return path


@pytest.fixture
def prototypes(tiny: Path, tmp_path: Path) -> Run:
    """Trains on six rows of each of four labels, with dev of 40; gives the output."""
    train, dev = save(tmp_path / "train.jsonl", texts(range(24))), save(tmp_path / "dev.jsonl", texts(range(24, 64)))

    def start(**options: Any) -> Path:  # noqa: ANN401
        given = {
            "train": train,
            "dev": dev,
            "output": tmp_path / "out",
            "model": str(tiny),
            "max_length": 16,
            "method": "prototypes",
            "precision": "fp32",
            "report": False,
            "episodes": 0,
        }
        config = TrainConfig(**(given | options))
        train_model(prepare(config))
        return config.output

    return start


def record(output: Path) -> TrainingRecord:
    return TrainingRecord.model_validate_json((output / "training.json").read_bytes())


def loaded(output: Path) -> PooledClassifier:
    model = load_pooled(output)
    assert model is not None
    return model


def test_rows_are_the_scaled_means_of_the_classes(prototypes: Run, tiny: Path) -> None:
    """Without episodes the encoder stays as it was; a row points to the mean vector of its class, and no bias is on."""
    from transformers import AutoTokenizer

    output = prototypes()
    model, found = loaded(output), record(output)
    assert model.pooling == Pooling("mean", normalize=True)
    before, after = load_file(tiny / "model.safetensors"), load_file(output / "model.safetensors")
    assert all(torch.equal(after[f"bert.{name}"], each) for name, each in before.items() if "pooler" not in name)
    tokenizer = AutoTokenizer.from_pretrained(output)
    for place, label in enumerate(found.labels):
        batch = tokenizer([text for text, each in texts(range(24)) if each == label], padding=True, return_tensors="pt")
        with torch.inference_mode():
            mask = batch["attention_mask"]
            mean = model.read(model.encode(batch["input_ids"], mask), mask).mean(dim=0)
        expected = found.chosen["scale"] * mean / mean.norm()
        torch.testing.assert_close(model.head.weight[place].detach(), expected, rtol=1e-4, atol=1e-4)
    assert not model.head.bias.any()
    assert (found.best_epoch, found.chosen["episode"]) == (None, 0)
    assert 1 <= found.chosen["scale"] <= 100


def test_episodes_teach_the_encoder(prototypes: Run, tmp_path: Path) -> None:
    """After episodes the means of the same rows are better, and the best encoder on dev is kept."""
    plain = record(prototypes(output=tmp_path / "plain"))
    output = prototypes(episodes=60, ways=3, shots=2, queries=3, learning_rate=3e-3)
    found = record(output)
    assert found.metrics["dev"]["macro_f1"] > plain.metrics["dev"]["macro_f1"]
    assert found.metrics["dev"]["macro_f1"] > 0.9
    assert found.chosen["episode"] in range(6, 61, 6)
    assert (found.recipe["episodes"], found.recipe["ways"]) == (60, 3)


def test_encoder_that_episodes_spoil_is_not_kept(
    prototypes: Run, tiny: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Where no episode made dev better, the encoder is as it was before the first."""
    output = prototypes(episodes=3, learning_rate=50.0)
    assert record(output).chosen["episode"] == 0
    assert "kept the encoder as it was" in capsys.readouterr().err
    before, after = load_file(tiny / "model.safetensors"), load_file(output / "model.safetensors")
    assert all(torch.equal(after[f"bert.{name}"], each) for name, each in before.items() if "pooler" not in name)


def test_learns_from_other_tasks(prototypes: Run, tmp_path: Path) -> None:
    """Episodes over task files teach the encoder what helps with a task that none of them has."""
    files = [
        save(tmp_path / f"task{number}.jsonl", texts(range(24), kinds))
        for number, kinds in enumerate((("good", "w7"), ("bad", "w8", "w7"), ("good", "bad")))
    ]
    plain = record(prototypes(output=tmp_path / "plain"))
    found = record(prototypes(episodes=60, shots=2, queries=3, learning_rate=3e-3, task_files=files))
    assert found.metrics["dev"]["macro_f1"] > plain.metrics["dev"]["macro_f1"]
    assert [each["source"] for each in found.recipe["task_files"]] == [file.name for file in files]
    assert str(tmp_path) not in json.dumps(found.recipe)


def test_tasks_are_apart_from_dev(prototypes: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Texts of dev in a task file are left out, and said once; with folds task files are refused."""
    shared = save(tmp_path / "task.jsonl", texts(range(60)))
    apart = save(tmp_path / "apart.jsonl", texts(range(4, 24)))
    options: dict[str, Any] = {"episodes": 2, "shots": 1, "queries": 1}
    outputs = [prototypes(output=tmp_path / path.stem, task_files=[path], **options) for path in (shared, apart)]
    assert capsys.readouterr().err.count("prototypes: 40 rows of task.jsonl are in dev or test, and left out") == 1
    one, other = (load_file(each / "model.safetensors") for each in outputs)
    assert all(torch.equal(one[name], each) for name, each in other.items())
    with pytest.raises(UserError, match=r"^--folds would score rows that --task-files may hold too"):
        prototypes(task_files=[shared], folds=2, **options)


def test_class_of_one_text(prototypes: Run, tmp_path: Path) -> None:
    """Classes with fewer texts than an episode asks for take part with what they have."""
    few = [*texts(range(24), ("good", "bad")), ("w7 w30", "w7"), ("w8 w31", "w8")]
    train = save(tmp_path / "few.jsonl", few)
    found = record(prototypes(train=train, episodes=5, shots=20, queries=20))
    assert found.labels == ["bad", "good", "w7", "w8"]
    assert found.metrics["dev"]["accuracy"] > 0.25


@pytest.mark.parametrize(
    ("rows", "shots", "queries"), [(1, 1, 0), (2, 1, 1), (3, 1, 2), (6, 3, 3), (9, 4, 5), (10, 5, 5), (40, 5, 5)]
)
def test_rows_of_a_class_are_shared_out(rows: int, shots: int, queries: int) -> None:
    """Every row is a shot or a query, up to as many as are asked for."""
    first, second = Shape(ways=5, shots=5, queries=5).split(numpy.arange(rows))
    assert (len(first), len(second)) == (shots, queries)
    assert len({*first, *second}) == shots + queries


def test_pairs_of_texts(prototypes: Run, tmp_path: Path) -> None:
    """A pair is compared like a text, in episodes too."""
    files = {name: write(tmp_path / f"pairs-{name}.jsonl", paired, range(40)) for name in ("train", "dev")}
    output = prototypes(**files, episodes=10, learning_rate=3e-3)
    assert record(output).metrics["dev"]["macro_f1"] > 0.8


def test_pooling_of_the_user_is_normalized(prototypes: Run) -> None:
    """The tokens are the user's choice; that the vector is normalized is the method's."""
    assert loaded(prototypes(pooling="first")).pooling == Pooling("first", normalize=True)


@pytest.mark.parametrize("step", [5, 17])
def test_resumed_is_as_uninterrupted(
    prototypes: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: int
) -> None:
    """Ctrl-C between two evaluations, then --resume, gives the result of an uninterrupted run."""
    options: dict[str, Any] = {"episodes": 30, "learning_rate": 1e-3}
    whole = prototypes(output=tmp_path / "whole", **options)

    def press(_: EpochBars, __: object, state: Any, *___: object, **____: object) -> None:  # noqa: ANN401
        if state.global_step == step:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(EpochBars, "on_step_end", press)
        with pytest.raises(KeyboardInterrupt):
            prototypes(**options)
    resumed = prototypes(resume=True, **options)
    assert record(resumed).chosen["episode"] == record(whole).chosen["episode"] > 0
    for name, tensor in load_file(whole / "model.safetensors").items():
        torch.testing.assert_close(load_file(resumed / "model.safetensors")[name], tensor, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize(
    ("make", "task"), [(several, "multi_label"), (numbered, "regression"), (tagged, "token_classification")]
)
def test_other_tasks(prototypes: Run, tmp_path: Path, make: Callable[[int], dict[str, Any]], task: str) -> None:
    """Tasks without one class for each text are refused, with the reason."""
    train = write(tmp_path / "other.jsonl", make, range(30))
    with pytest.raises(UserError, match=rf"^--method prototypes is for single_label; this is {task}, where a text has"):
        prototypes(train=train, dev=None)


def test_no_episode_can_be_drawn(prototypes: Run, tmp_path: Path) -> None:
    """Train, or a task file, without a class of two texts is refused before anything is written."""
    lonely = save(tmp_path / "lonely.jsonl", texts(range(4)))
    message = r"^lonely\.jsonl gives no episodes: they need two classes, .* --episodes 0$"
    for options in ({"train": lonely}, {"task_files": [lonely]}):
        with pytest.raises(UserError, match=message):
            prototypes(episodes=5, **options)
    one_class = save(tmp_path / "one.jsonl", texts(range(8), ("good",)))
    with pytest.raises(UserError, match=r"^one\.jsonl gives no episodes"):
        prototypes(episodes=5, task_files=[one_class])
    assert not (tmp_path / "out.partial").exists()
    assert record(prototypes(train=lonely)).metrics["dev"]["accuracy"] > 0.25


def test_task_files_that_do_not_fit(prototypes: Run, tmp_path: Path) -> None:
    """They are of the same kind as train, and have a use."""
    with pytest.raises(UserError, match=r"^--task-files needs --episodes of 1 at least$"):
        prototypes(task_files=[save(tmp_path / "task.jsonl", texts(range(8)))])
    pairs = write(tmp_path / "pairs.jsonl", paired, range(8))
    with pytest.raises(UserError, match=r"^pairs\.jsonl has pairs of texts, and train\.jsonl has not"):
        prototypes(episodes=5, task_files=[pairs])
    with pytest.raises(UserError, match=r"nowhere\.csv: no such file"):
        prototypes(episodes=5, task_files=[tmp_path / "nowhere.csv"])
