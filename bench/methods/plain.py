"""Fine-tune as the task guides of transformers do, with the same model, rows and epochs as `bertwire train`.

`python -m bench.methods.plain FOLDER --epochs 4 --seed 1` reads train, dev and test.jsonl of FOLDER and prints the
scores as JSON. Rate 2e-5, batches of 16, weight decay 0.01, dynamic padding, the best epoch on dev by loss, the
architecture's own head: https://huggingface.co/docs/transformers/tasks/sequence_classification and
token_classification.
"""

import argparse
import json
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy
from numpy.typing import NDArray
from torch.utils.data import Dataset
from transformers import (
    AutoModelForSequenceClassification,
    AutoModelForTokenClassification,
    AutoTokenizer,
    DataCollatorForTokenClassification,
    DataCollatorWithPadding,
    Trainer,
    TrainingArguments,
)

from bertwire_core.process import readable
from bertwire_data.labelled import Columns, Labelled, encode_targets, label_order, outside_row, read_labelled, score
from bertwire_trainer.base import find_base
from bertwire_trainer.quiet import quiet_libraries

# What the loss passes over.
_IGNORED = -100


class Rows(Dataset[dict[str, Any]]):
    """Tokenized rows: what the guides make with `datasets.map`.

    Attributes:
        firsts: for tags, the places of the words' first tokens in each text.
    """

    def __init__(self, tokenizer: Any, rows: Labelled, targets: NDArray[Any], max_length: int) -> None:  # noqa: ANN401
        self.encoded = tokenizer(
            list(rows.inputs), truncation=True, max_length=max_length, is_split_into_words=rows.by_word
        )
        self.firsts: list[list[int]] = []
        self._labels = targets.tolist() if not rows.by_word else self._tags(rows, targets)

    def _tags(self, rows: Labelled, targets: NDArray[Any]) -> list[list[int]]:
        labels, start = [], 0
        for index, words in enumerate(rows.words() or []):
            ids = self.encoded.word_ids(index)
            before = [None, *ids]
            self.firsts.append([place for place, word in enumerate(ids) if word is not None and word != before[place]])
            tags = numpy.full(len(ids), _IGNORED)
            tags[self.firsts[-1]] = targets[start : start + len(self.firsts[-1])]
            labels.append(tags.tolist())
            start += words
        return labels

    def __len__(self) -> int:
        return len(self._labels)

    def __getitem__(self, index: int) -> dict[str, Any]:
        return {name: values[index] for name, values in self.encoded.items()} | {"labels": self._labels[index]}


def main() -> None:
    """Train, score and print."""
    parser = argparse.ArgumentParser(prog="plain", description=__doc__)
    parser.add_argument("folder", type=Path, help="with train.jsonl, dev.jsonl and test.jsonl")
    parser.add_argument("--epochs", type=int, required=True)
    parser.add_argument("--seed", type=int, default=42)
    parser.add_argument("--max-length", type=int, default=128)
    arguments = parser.parse_args()
    quiet_libraries()
    with readable("plain"), tempfile.TemporaryDirectory() as output:
        print(json.dumps(_scores(arguments, output)))


def _scores(arguments: argparse.Namespace, output: str) -> dict[str, Any]:
    splits = {name: read_labelled(arguments.folder / f"{name}.jsonl", Columns()) for name in ("train", "dev", "test")}
    train = splits["train"]
    labels = label_order(train.names(), train.task)
    path = find_base("minilm").location
    tokenizer = AutoTokenizer.from_pretrained(path)
    targets = {name: encode_targets(rows, labels) for name, rows in splits.items()}
    rows = {name: Rows(tokenizer, split, targets[name], arguments.max_length) for name, split in splits.items()}
    several = {"problem_type": "multi_label_classification"} if train.task == "multi_label" else {}
    kind = AutoModelForTokenClassification if train.by_word else AutoModelForSequenceClassification
    model = kind.from_pretrained(path, num_labels=len(labels), **several)
    collator = (DataCollatorForTokenClassification if train.by_word else DataCollatorWithPadding)(tokenizer)
    trainer = Trainer(
        model=model,
        args=TrainingArguments(
            output_dir=output,
            learning_rate=2e-5,
            per_device_train_batch_size=16,
            per_device_eval_batch_size=16,
            num_train_epochs=arguments.epochs,
            weight_decay=0.01,
            eval_strategy="epoch",
            save_strategy="epoch",
            load_best_model_at_end=True,
            seed=arguments.seed,
            report_to="none",
            disable_tqdm=True,
            use_cpu=True,
        ),
        train_dataset=rows["train"],
        eval_dataset=rows["dev"],
        processing_class=tokenizer,
        data_collator=collator,
    )
    begun = time.process_time()
    trainer.train()
    seconds = time.process_time() - begun
    scores = {name: _score(trainer, rows[name], splits[name], targets[name], labels) for name in ("dev", "test")}
    return {"metrics": scores, "cpu_seconds": seconds}


def _score(trainer: Trainer, rows: Rows, split: Labelled, targets: NDArray[Any], labels: list[str]) -> dict[str, float]:
    logits = trainer.predict(rows).predictions
    if split.by_word:
        words = split.words() or []
        logits = numpy.concatenate([_words(each, rows.firsts[at], words[at], labels) for at, each in enumerate(logits)])
    return score(split.task, numpy.asarray(logits, numpy.float32), targets, labels, split.words())


def _words(logits: NDArray[Any], firsts: list[int], words: int, labels: list[str]) -> NDArray[Any]:
    cut = numpy.tile(outside_row(labels), (words - len(firsts), 1))
    return numpy.concatenate([logits[firsts], cut])


if __name__ == "__main__":
    main()
