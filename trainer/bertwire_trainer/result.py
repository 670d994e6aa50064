"""Fills the folder that becomes the checkpoint: weights, tokenizer, predictions, record."""

import json
import platform
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

from bertwire_trainer.data import Data
from bertwire_trainer.predict import predict
from bertwire_trainer.progress import say
from bertwire_trainer.record import Scores, Setup, TrainingRecord
from bertwire_trainer.scores import Floats, report, score
from bertwire_trainer.split import Split
from bertwire_trainer.tokens import TokenDataset

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

# What loading left in the tokenizer's settings and no user of the checkpoint should inherit.
_LEFT_BY_LOADING = ("is_local", "local_files_only", "name_or_path", "max_length", "stride", "truncation_strategy")


def save(model: "PreTrainedModel", tokenizer: "PreTrainedTokenizerBase", folder: Path) -> None:
    """Writes the weights in one safetensors file, the configuration and the tokenizer."""
    model.save_pretrained(folder, max_shard_size="1TB")
    # Training set truncation on the Rust tokenizer; how to cut and pad is for the user of the checkpoint to say.
    tokenizer.backend_tokenizer.no_truncation()
    tokenizer.backend_tokenizer.no_padding()
    for key in _LEFT_BY_LOADING:
        tokenizer.init_kwargs.pop(key, None)
    tokenizer.save_pretrained(folder)


def evaluate(
    folder: Path, tokenizer: "PreTrainedTokenizerBase", data: Data, tokens: dict[str, TokenDataset]
) -> dict[str, Scores]:
    """Scores dev and test in float32 with the weights as saved, whatever precision trained them.

    Writes `predictions/` and prints the report of test.
    """
    import torch
    from transformers import AutoModelForSequenceClassification

    model = AutoModelForSequenceClassification.from_pretrained(folder, local_files_only=True)
    model.to("cuda" if torch.cuda.is_available() else "cpu")
    metrics = {}
    for name, split in data.held_out().items():
        logits = predict(model, tokenizer, tokens[name], f"score {name}")
        write_predictions(folder / "predictions" / f"{name}.jsonl", split, data.labels, logits)
        metrics[name] = score(logits, tokens[name].label_ids)
        if name == "test":
            say(f"test:\n{report(logits, tokens[name].label_ids, data.labels)}")
    return metrics


def write_predictions(path: Path, split: Split, labels: list[str], logits: Floats) -> None:
    """Writes one JSON object a text: `text`, `label`, `predicted` and `logits`, floats in label order."""
    path.parent.mkdir(exist_ok=True)
    with path.open("w", encoding="utf-8") as file:
        for text, label, row in zip(split.texts, split.labels, logits, strict=True):
            predicted = labels[int(row.argmax())]
            values = {"text": text, "label": label, "predicted": predicted, "logits": row.tolist()}
            file.write(json.dumps(values, ensure_ascii=False) + "\n")


def write_record(folder: Path, setup: Setup, metrics: dict[str, Scores], best_epoch: int, seconds: float) -> None:
    """Writes `training.json`."""
    versions = {name: version(name) for name in ("bertwire", "torch", "transformers")}
    record = TrainingRecord(
        **setup.model_dump(),
        metrics=metrics,
        best_epoch=best_epoch,
        versions=versions | {"python": platform.python_version()},
        seconds=round(seconds, 1),
    )
    (folder / "training.json").write_text(record.model_dump_json(indent=2) + "\n", encoding="utf-8")
