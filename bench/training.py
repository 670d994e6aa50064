"""Tokens a CPU-second of training steps, beside a plain transformers Trainer.

`python -m bench.training FILES --texts 600 --max-length 128` mixes labelled files with a column `text` or `tokens`, to
have many lengths, and trains MiniLM on which file a text is from: one epoch by the loop of `bertwire train`, one by
transformers' Trainer with dynamic padding and `group_by_length`, in turns, one thread, batches of 32, each in the
precision that it takes by itself. Padding
does not count as tokens; what comes before the first step and after the last is not timed.
"""

import argparse
import json
import random
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median
from typing import Any

import torch
from transformers import Trainer, TrainerCallback, TrainingArguments

from bench.machine import machine
from bertwire_core.console import out
from bertwire_core.process import readable
from bertwire_data.labelled import Columns, encode_targets, read_labelled
from bertwire_trainer.base import find_base
from bertwire_trainer.data import Data
from bertwire_trainer.device import choose_precision, has_fast_bf16
from bertwire_trainer.loading import load_model
from bertwire_trainer.loop.options import LoopOptions
from bertwire_trainer.loop.steps import EpochTrainer
from bertwire_trainer.method import Job
from bertwire_trainer.predict import collator
from bertwire_trainer.quiet import quiet_libraries
from bertwire_trainer.tokenizer import load_tokenizer
from bertwire_trainer.tokens import tokenize

BATCH = 32


class _Clock(TrainerCallback):
    """CPU-seconds from the first step of an epoch to its last."""

    seconds = 0.0

    def on_epoch_begin(self, *_: Any, **__: Any) -> None:  # noqa: ANN401
        self.seconds = -time.process_time()

    def on_epoch_end(self, *_: Any, **__: Any) -> None:  # noqa: ANN401
        self.seconds += time.process_time()


def main() -> None:
    """Measure both in turns and print the figures as JSON."""
    parser = argparse.ArgumentParser(prog="bench.training", description=__doc__)
    parser.add_argument("files", type=Path, nargs="+", help="JSONL with a column text or tokens")
    parser.add_argument("--texts", type=int, default=600, help="texts of each file")
    parser.add_argument("--max-length", type=int, default=128)
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    quiet_libraries()
    torch.set_num_threads(1)
    with readable("bench"), tempfile.TemporaryDirectory() as folder:
        rows = mixed(arguments.files, arguments.texts)
        sides: dict[str, Callable[[Job], float]] = {"bertwire": bertwire, "transformers": plain}
        found: dict[str, list[float]] = {name: [] for name in sides}
        for _ in range(arguments.rounds):
            for name, side in sides.items():
                job = make_job(rows, arguments.max_length, Path(folder))
                tokens = sum(job.tokens["train"].lengths)
                found[name].append(tokens / side(job))
    rates = {name: round(median(each)) for name, each in found.items()}
    out.print_json(
        json.dumps(
            {"tokens_a_cpu_second": rates, "rounds": found, "ratio": rates["bertwire"] / rates["transformers"]}
            | {"texts": len(rows), "tokens": tokens, "max_length": arguments.max_length, "machine": machine()}
        )
    )


def mixed(files: Sequence[Path], count: int) -> list[dict[str, str]]:
    """Return `count` random texts of each file, labelled with its number, in random order."""
    chosen, rows = random.Random(0), []  # noqa: S311 - a benchmark
    for number, file in enumerate(files):
        lines = file.read_text(encoding="utf-8").splitlines()
        for line in chosen.sample(lines, min(count, len(lines))):
            row = json.loads(line)
            rows.append({"text": row.get("text") or " ".join(row["tokens"]), "label": f"file {number}"})
    chosen.shuffle(rows)
    return rows


def make_job(rows: Sequence[dict[str, str]], max_length: int, folder: Path) -> Job:
    """Return the job of training MiniLM on rows; its dev is a few of them."""
    path = folder / "rows.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    train = read_labelled(path, Columns("text", None, None), "single_label")
    base, labels = find_base("minilm"), sorted({row["label"] for row in rows})
    torch.manual_seed(0)
    model, tokenizer = load_model(base, "single_label", labels), load_tokenizer(base, "single_label", "right")
    tokenizer.model_max_length = max_length
    splits = {"train": train, "dev": train.take(range(8))}
    targets = {name: encode_targets(split, labels) for name, split in splits.items()}
    return Job(
        data=Data(labels, train, splits["dev"], None, targets),
        model=model,
        tokenizer=tokenizer,
        tokens={name: tokenize(model, tokenizer, split, targets[name]) for name, split in splits.items()},
        precision=choose_precision("auto", cuda=False, fast_bf16=has_fast_bf16()),
        tf32=False,
        compile=False,
        seed=0,
        base=base,
        epochs=folder / "epochs",
        logs=folder / "logs",
    )


def bertwire(job: Job) -> float:
    """Return the CPU-seconds of an epoch's steps by the loop of `bertwire train`."""
    clock = _Clock()
    EpochTrainer(job, LoopOptions(epochs=1, patience=1, learning_rate=1e-4, batch_size=BATCH), {}, [clock]).train()
    return clock.seconds


def plain(job: Job) -> float:
    """Return the CPU-seconds of an epoch's steps by a plain Trainer."""
    clock = _Clock()
    arguments = TrainingArguments(
        output_dir=str(job.epochs),
        num_train_epochs=1,
        per_device_train_batch_size=BATCH,
        train_sampling_strategy="group_by_length",
        use_cpu=True,
        save_strategy="no",
        report_to="none",
        disable_tqdm=True,
    )
    tokens = job.tokens["train"]
    Trainer(
        model=job.model,
        args=arguments,
        data_collator=collator(job.tokenizer, tokens),
        train_dataset=tokens,
        callbacks=[clock],
    ).train()
    return clock.seconds


if __name__ == "__main__":
    main()
