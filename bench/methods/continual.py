"""Forgetting of `bertwire train --continue`: half of the labels first, then the other half in several ways.

`python -m bench.methods.continual FOLDER` takes train.jsonl, dev.jsonl and test.jsonl of FOLDER, a set with one label
for each text. A model learns the first half of the labels; from it others go on with the second half. Forgetting is how
much lower the accuracy on the test rows of the first half is after that.
"""

import argparse
import json
import random
import tempfile
from collections import defaultdict
from pathlib import Path
from typing import Any

from rich.table import Table

from bench.machine import machine
from bertwire_core.console import out
from bertwire_core.process import readable
from bertwire_trainer.config import TrainConfig
from bertwire_trainer.prepare import prepare
from bertwire_trainer.quiet import quiet_libraries
from bertwire_trainer.train import train_model

# Options of every training: MiniLM was pretrained for the mean, and few rows need more epochs than the default.
COMMON: dict[str, Any] = {"epochs": 5, "patience": 5, "batch_size": 16}
# Options of each way to go on, with old rows of each label to learn in place of their number in all.
WAYS: dict[str, dict[str, Any]] = {
    "naive": {},
    "rehearsal, 5 rows a label": {"continued_rehearsal_count": 5},
    "rehearsal, 5 rows a label, lwf 1": {"continued_rehearsal_count": 5, "continued_lwf": 1.0},
    "rehearsal, 10 rows a label": {"continued_rehearsal_count": 10},
    "lwf 1": {"continued_lwf": 1.0},
    "ewc 1e4": {"continued_ewc": 1e4, "continued_rehearsal_count": 0},
}
Row = dict[str, str]


def main() -> None:
    """Cut, train, score; write the JSON after each training, and go on from it; print the table."""
    arguments = _parser().parse_args()
    quiet_libraries()
    with readable("continual"), tempfile.TemporaryDirectory() as folder:
        labels = _cut(arguments, Path(folder))
        first = _train(Path(folder), 1, "first", {"pooling": "mean"})
        for way in arguments.ways:
            if way not in _ways(arguments):
                _write(arguments, way, _go_on(Path(folder), first, way, labels))
    out.print(_table(_ways(arguments)))


def _go_on(folder: Path, first: Path, way: str, labels: int) -> dict[str, Any]:
    given = {"continued": first, "continued_dev": folder / "test-1.jsonl"} | WAYS[way]
    if "continued_rehearsal_count" in given:
        given |= {
            "continued_rehearsal": folder / "train-1.jsonl",
            "continued_rehearsal_count": given["continued_rehearsal_count"] * labels,
        }
    record = json.loads((_train(folder, 2, "next", given) / "training.json").read_bytes())
    old = record["stages"]["continued"]["forgotten"]
    before, after = (old[when]["accuracy"] for when in ("before", "after"))
    new = record["metrics"]["test"]["accuracy"]
    return {
        "old_before": round(before, 4),
        "old_after": round(after, 4),
        "forgetting": round(before - after, 4),
        "new": round(new, 4),
        "seconds": record["seconds"],
    }


def _train(folder: Path, half: int, name: str, options: dict[str, Any]) -> Path:
    files: dict[str, Any] = {split: folder / f"{split}-{half}.jsonl" for split in ("train", "dev", "test")}
    config = TrainConfig(**files, **COMMON, **options, output=folder / name, overwrite=True)
    train_model(prepare(config))
    return config.output


def _cut(arguments: argparse.Namespace, folder: Path) -> int:
    """Write the rows of each half of the labels, of train some of each label; return the labels of the first half."""
    draw = random.Random(arguments.seed)  # noqa: S311 - not for secrets
    splits = {
        name: [
            json.loads(line) for line in (arguments.folder / f"{name}.jsonl").read_text(encoding="utf-8").splitlines()
        ]
        for name in ("train", "dev", "test")
    }
    names = sorted({row["label"] for row in splits["train"]})
    draw.shuffle(names)
    first = {*names[: len(names) // 2]}
    by_label: dict[str, list[Row]] = defaultdict(list)
    for row in splits["train"]:
        by_label[row["label"]].append(row)
    splits["train"] = [
        row for name in names for row in draw.sample(by_label[name], min(arguments.rows, len(by_label[name])))
    ]
    for split, rows in splits.items():
        for half in (1, 2):
            own = [json.dumps(row) + "\n" for row in rows if (row["label"] in first) == (half == 1)]
            (folder / f"{split}-{half}.jsonl").write_text("".join(own), encoding="utf-8")
    return len(first)


def _read(arguments: argparse.Namespace) -> dict[str, Any]:
    output: Path = arguments.output
    document: dict[str, Any] = json.loads(output.read_text(encoding="utf-8")) if output.exists() else {}
    return document


def _ways(arguments: argparse.Namespace) -> dict[str, dict[str, float]]:
    """Return what the file has of the set, by way."""
    found: dict[str, dict[str, float]] = _read(arguments).get(arguments.folder.name, {}).get("ways", {})
    return found


def _write(arguments: argparse.Namespace, way: str, score: dict[str, float]) -> None:
    found = {
        "rows_per_label": arguments.rows,
        "seed": arguments.seed,
        "options": COMMON,
        "machine": machine(),
        "ways": _ways(arguments) | {way: score},
    }
    document = _read(arguments) | {arguments.folder.name: found}
    arguments.output.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")


def _table(ways: dict[str, dict[str, float]]) -> Table:
    table = Table("way", "old labels before", "after", "forgetting", "share of naive", "new labels", "seconds")
    naive = ways.get("naive", {}).get("forgetting")
    for name, each in ways.items():
        share = f"{each['forgetting'] / naive:.2f}" if naive else "-"
        shown = [f"{each[figure]:.4f}" for figure in ("old_before", "old_after", "forgetting")]
        table.add_row(name, *shown, share, f"{each['new']:.4f}", f"{each['seconds']:.0f}")
    return table


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="bench.methods.continual", description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--rows", type=int, default=40, help="of train of each label at most")
    parser.add_argument("--seed", type=int, default=0, help="of the halves and the rows")
    parser.add_argument("--ways", nargs="+", choices=WAYS, default=list(WAYS))
    parser.add_argument("--output", type=Path, default=Path("bench/results/continual.json"))
    return parser


if __name__ == "__main__":
    main()
