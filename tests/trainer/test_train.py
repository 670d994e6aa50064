"""Whole runs of the trainer on a tiny checkpoint."""

import errno
import json
import re
import shutil
import socket
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import (
    AutoModelForSequenceClassification,
    AutoTokenizer,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)

from bertwire_core.errors import UserError
from bertwire_trainer import train as trainer
from bertwire_trainer.record import TrainingRecord
from bertwire_trainer.result import save

WriteRows = Callable[[str, list[tuple[str, str]]], Path]
Run = Callable[..., Path]
Separable = Callable[..., list[tuple[str, str]]]


def record(output: Path) -> TrainingRecord:
    return TrainingRecord.model_validate_json((output / "training.json").read_bytes())


def predictions(output: Path, name: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (output / "predictions" / f"{name}.jsonl").read_text().splitlines()]


def weights(output: Path) -> torch.Tensor:
    return torch.cat([tensor.flatten() for _, tensor in sorted(load_file(output / "model.safetensors").items())])


def test_checkpoint_folder(run: Run, write_rows: WriteRows, tmp_path: Path, separable: Separable) -> None:
    """The folder holds what design.md lists, nothing else, and no path of this machine; the partial is gone."""
    output = run(test=write_rows("test.jsonl", separable(12, 200)))
    files = [path for path in output.rglob("*") if path.is_file()]
    names = {str(path.relative_to(output)) for path in files if "events" not in path.name}
    assert names == {
        "config.json",
        "model.safetensors",
        "tokenizer.json",
        "tokenizer_config.json",
        "training.json",
        "recipe.yaml",
        "predictions/dev.jsonl",
        "predictions/test.jsonl",
    }
    assert list(output.glob("logs/events.out.tfevents.*"))
    assert not [path for path in files if str(tmp_path.parent).encode() in path.read_bytes()]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["dev.jsonl", "out", "test.jsonl", "train.jsonl"]


@pytest.mark.parametrize(
    ("options", "epochs"),
    [
        ({"batch_size": 2}, 9),
        # The 48 rows have 7.9 tokens on average, so that 2 are in a batch.
        ({"batch_size": None, "batch_tokens": 16}, 9),
        # 20 of them have a second chunk.
        ({"batch_size": 2, "chunks": 2, "max_length": 8, "chunk_overlap": 2}, 6),
    ],
)
def test_default_epochs(run: Run, options: dict[str, Any], epochs: int) -> None:
    """They give 200 optimizer steps, by the batches that there are and with every chunk."""
    assert record(run(epochs=None, patience=1, **options)).recipe["epochs"] == epochs


def test_default_epochs_of_a_stage(run: Run) -> None:
    """Copies of rows count where they are learned; the recipe leaves the epochs open, which repeats the run."""
    copies: dict[str, Any] = {"augment": ["delete"], "augment_copies": 4, "augment_share": 0.5}
    output = run(epochs=None, patience=1, batch_size=4, **copies)
    found = record(output)
    steps = (48 + found.stages["augment"]["rows"]) // 4
    assert found.chosen["epochs"] == -(-200 // steps) < found.recipe["epochs"] == -(-200 // 12)
    assert "epochs: 0\n" in (output / "recipe.yaml").read_text()


def test_training_record(run: Run, write_rows: WriteRows, separable: Separable) -> None:
    """training.json says what was trained on what, how, and how good it is."""
    output = run(test=write_rows("test.jsonl", separable(12, 200)), epochs=9, learning_rate=5e-3)
    found = record(output)
    assert (found.schema_version, found.task, found.labels) == (2, "single_label", ["negative", "positive"])
    assert (found.base_model, found.max_length, found.truncation_side, found.seed) == ("tiny-bert", 16, "right", 42)
    assert {name: (split.source, split.rows) for name, split in found.data.items()} == {
        "train": ("train.jsonl", 48),
        "dev": ("dev.jsonl", 16),
        "test": ("test.jsonl", 12),
    }
    assert found.recipe["learning_rate"] == 5e-3
    assert found.recipe["precision"] == "fp32"
    assert set(found.versions) == {"bertwire", "torch", "transformers", "python"}
    assert found.metrics["dev"]["accuracy"] == 1.0
    assert found.best_epoch in range(1, 10)


def test_predictions_are_the_saved_models(run: Run, separable: Separable) -> None:
    """Each line, in file order, has the logits that the published folder gives for that text alone."""
    output = run()
    model = AutoModelForSequenceClassification.from_pretrained(output)
    tokenizer = AutoTokenizer.from_pretrained(output)
    rows = predictions(output, "dev")
    assert [(row["text"], row["label"]) for row in rows] == separable(16, 100)
    for row in rows:
        with torch.inference_mode():
            logits = model(**tokenizer(row["text"], truncation=True, return_tensors="pt")).logits[0]
        torch.testing.assert_close(torch.tensor(row["logits"]), logits, atol=1e-5, rtol=0)
        assert row["predicted"] == model.config.id2label[int(logits.argmax())]
    right = sum(row["label"] == row["predicted"] for row in rows)
    assert record(output).metrics["dev"]["accuracy"] == pytest.approx(right / 16)


def test_tokenizer_cuts_at_the_trained_length(run: Run) -> None:
    """The saved tokenizer cuts at the trained length and side when asked to, and neither cuts nor pads unasked."""
    output = run(max_length=8, truncation_side="left", epochs=1)
    tokenizer = AutoTokenizer.from_pretrained(output)
    assert (tokenizer.model_max_length, tokenizer.truncation_side) == (8, "left")
    saved = json.loads((output / "tokenizer.json").read_text())
    assert (saved["truncation"], saved["padding"]) == (None, None)


def test_dev_is_cut_from_train(run: Run) -> None:
    """Without a dev file a tenth of train becomes dev."""
    data = record(run(dev=None, epochs=1)).data
    assert (data["train"].rows, data["dev"].rows) == (43, 5)


def test_dataset_folder(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, write_rows: WriteRows, separable: Separable
) -> None:
    """--dataset takes a local dataset folder in place of files."""
    import datasets  # type: ignore[import-untyped]

    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", str(tmp_path / "cache"))
    (tmp_path / "mine").mkdir()
    write_rows("mine/train.jsonl", separable(48))
    write_rows("mine/test.jsonl", separable(8, 100))
    output = run(train=None, dev=None, dataset=str(tmp_path / "mine"), test_split="test", epochs=1)
    sources = {name: split.source for name, split in record(output).data.items()}
    assert sources == {"train": "mine:train", "dev": "mine:train", "test": "mine:test"}


@pytest.fixture(scope="module")
def plain_weights() -> dict[str, torch.Tensor]:
    """The weights of one run with default options, kept between the tests of options."""
    return {}


@pytest.mark.parametrize(
    "option",
    [
        {},
        {"seed": 7},
        {"batch_size": 4},
        {"gradient_accumulation": 2},
        {"learning_rate": 1e-3},
        {"warmup_ratio": 0.5},
        {"weight_decay": 0.5},
        {"label_smoothing": 0.2},
        {"class_weights": "balanced"},
        {"max_length": 4},
        {"precision": "bf16"},
    ],
    ids=lambda option: next(iter(option), "repeated"),
)
def test_options_shape_the_result(run: Run, plain_weights: dict[str, torch.Tensor], option: dict[str, Any]) -> None:
    """Every option changes the weights; the same options give the same weights."""
    if not plain_weights:
        plain_weights["plain"] = weights(run(epochs=1))
    same = torch.equal(plain_weights["plain"], weights(run(**({"epochs": 1, "overwrite": True} | option))))
    assert same == (option == {})


def test_truncation_side(run: Run, write_rows: WriteRows, separable: Separable) -> None:
    """Texts that tell their label by the first word are learnt when cut on the right, not when cut on the left."""
    rows = [(f"{text.split()[2]} {text.split()[0]} w5 w6 w7 w8 w9", label) for text, label in separable(48)]
    files = {"train": write_rows("first.jsonl", rows), "dev": write_rows("first-dev.jsonl", rows)}
    options = files | {"max_length": 5, "epochs": 4, "overwrite": True, "learning_rate": 5e-3}
    assert record(run(**options, truncation_side="right")).metrics["dev"]["accuracy"] == 1.0
    assert record(run(**options, truncation_side="left")).metrics["dev"]["accuracy"] < 1.0


def test_early_stopping_keeps_the_best_epoch(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    """With a rate that changes nothing, patience 2 stops after the third epoch and keeps the first."""
    output = run(learning_rate=1e-12, epochs=9, patience=2)
    assert record(output).best_epoch == 1
    assert capsys.readouterr().out.count("macro avg") == 3


def test_of_epochs_with_one_score_the_lowest_loss_is_kept(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    """Where all is right from early on, what is kept is not what was nearly untrained."""
    output = run(learning_rate=1e-3, epochs=6, patience=1)
    said = re.findall(r"epoch (\d+): dev macro-F1 ([\d.]+), .*loss ([\d.]+)", capsys.readouterr().out)
    figures = [(-float(score), float(loss), int(epoch)) for epoch, score, loss in said]
    assert len({score for score, _, _ in figures}) < len(figures)
    assert record(output).best_epoch == min(figures)[2] > 1


def test_results_and_progress_part_ways(
    run: Run, write_rows: WriteRows, capsys: pytest.CaptureFixture[str], separable: Separable
) -> None:
    """Reports go to standard output; bars and warnings to standard error, with nothing of the libraries' own."""
    run(test=write_rows("test.jsonl", separable(12, 200) + separable(3)), epochs=1)
    printed = capsys.readouterr()
    assert [line for line in printed.out.splitlines() if "macro avg" in line][1:], printed.out
    assert "accuracy" not in printed.err
    assert "warning: 3 distinct texts are in both train and test" in printed.err
    shown = [line.split(" ")[0] for line in printed.err.splitlines() if line.strip()]
    assert set(shown) == {"warning:", "epoch", "dev", "kept", "score"}


def test_output_exists(run: Run, tmp_path: Path) -> None:
    """An existing output is kept unless --overwrite is given."""
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine.txt").touch()
    with pytest.raises(UserError, match="out exists already"):
        run()
    with pytest.raises(
        UserError, match="out is no checkpoint of bertwire train, and --overwrite replaces nothing else"
    ):
        run(overwrite=True)
    assert (tmp_path / "out" / "mine.txt").exists()
    (tmp_path / "out" / "training.json").touch()
    run(overwrite=True, epochs=1)
    assert not (tmp_path / "out" / "mine.txt").exists()


def test_output_is_a_file(run: Run, tmp_path: Path) -> None:
    """--overwrite does not replace a file by a folder."""
    (tmp_path / "out").touch()
    with pytest.raises(UserError, match="out is a file"):
        run(overwrite=True)


def test_nothing_tries_the_network(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """A local checkpoint and local files train without opening a connection or looking up a host."""

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("the network was tried")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    assert run(epochs=1).is_dir()


def test_disk_full_at_the_end(run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A disk that fills up while the result is written costs no epoch: --resume finishes."""

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(trainer, "save", full)
        with pytest.raises(UserError, match="no space left"):
            run()
    assert not (tmp_path / "out").exists()
    assert record(run(resume=True)).recipe["epochs"] == 2


def test_what_was_saved_wrong_is_not_published(run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A checkpoint that gives dev other logits than the model that was trained stays in the partial folder."""

    def spoil(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, folder: Path) -> None:
        save(model, tokenizer, folder)
        tensors = load_file(folder / "model.safetensors")
        save_file(tensors | {"classifier.bias": tensors["classifier.bias"] + 0.1}, folder / "model.safetensors")

    monkeypatch.setattr(trainer, "save", spoil)
    with pytest.raises(UserError, match=r"gives dev other logits than the trained model, by up to 0\.1,"):
        run(epochs=1)
    assert not (tmp_path / "out").exists()


def test_too_little_room_leaves_nothing(run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A run that is refused for want of room leaves no partial folder in the way of the next."""
    with monkeypatch.context() as patch:
        patch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=0))
        with pytest.raises(UserError, match="has 0 MiB free"):
            run()
    assert not (tmp_path / "out.partial").exists()


def test_max_length_is_checked_first(run: Run, tmp_path: Path) -> None:
    """A max length beyond the position table is refused before anything is written."""
    with pytest.raises(UserError, match="--max-length 65 is more than the 64 positions"):
        run(max_length=65)
    assert not (tmp_path / "out.partial").exists()


def test_pretrained_minilm(run: Run, write_rows: WriteRows) -> None:
    """The default model learns a handful of sentences."""
    praise = ["a wonderful film", "I loved every minute", "great acting", "a joy to watch", "superb and moving"]
    blame = ["a dreadful film", "I hated every minute", "poor acting", "a bore to watch", "dull and clumsy"]
    rows = [(text, "good") for text in praise] + [(text, "bad") for text in blame]
    files = {"train": write_rows("few.jsonl", rows), "dev": write_rows("few-dev.jsonl", rows)}
    output = run(**files, model="minilm", epochs=2, batch_size=2, learning_rate=2e-4)
    assert record(output).metrics["dev"]["accuracy"] == 1.0
    assert record(output).base_model == "minilm"
