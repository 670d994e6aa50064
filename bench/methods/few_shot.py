"""Methods of `bertwire train` on a few texts of each label, and SetFit's own where it is installed.

`python -m bench.methods.few_shot FOLDER` takes train.jsonl, dev.jsonl and test.jsonl of FOLDER, draws the same texts of
train for every method, and scores each on test. The set has one label for each text. For SetFit:
`uv venv .setfit && uv pip install --python .setfit/bin/python setfit==1.2.*`.
"""

import argparse
import json
import os
import random
import statistics
import subprocess
import tempfile
from collections import defaultdict
from pathlib import Path
from typing import Any

from rich.table import Table
from scipy.stats import t

from bench.machine import machine
from bertwire_core.console import out
from bertwire_core.process import readable
from bertwire_trainer.base import find_base
from bertwire_trainer.config import TrainConfig
from bertwire_trainer.prepare import prepare
from bertwire_trainer.quiet import quiet_libraries
from bertwire_trainer.train import train_model

# The rows of train that were not drawn, without their labels.
UNLABELLED = Path("unlabelled.txt")
# Options of each method; `--epochs` is for those that train by epochs.
METHODS: dict[str, dict[str, Any]] = {
    "few-shot": {"method": "few-shot"},
    "frozen": {"method": "frozen"},
    "full": {"method": "full"},
    "prototypes": {"method": "prototypes"},
    "zero-shot": {"method": "zero-shot"},
    "self-train": {"method": "full", "self_train": [UNLABELLED]},
    "adapt": {"method": "full", "adapt": [UNLABELLED]},
}
# num_iterations of SetFit; None: that of few-shot. 0, SetFit's default, is every pair, too many for many labels.
SETFIT = {"setfit": None, "setfit, every pair": 0}
# Accuracy and seconds; of each method.
Score = dict[str, float]
Scores = dict[str, Score]


def main() -> None:
    """Draw, train, score; write the JSON after each training, and go on from it; print the table."""
    arguments = _parser().parse_args()
    quiet_libraries()
    with readable("few-shot"):
        for seed in arguments.draws:
            with tempfile.TemporaryDirectory() as folder:
                _draw(arguments, Path(folder), seed)
                for method in [*arguments.methods, *(arguments.setfit if arguments.python.exists() else ())]:
                    if method not in _draws(arguments).get(str(seed), {}):
                        _write(arguments, seed, method, _score(arguments, Path(folder), seed, method))
    out.print(_table(list(_draws(arguments).values())))


def _score(arguments: argparse.Namespace, folder: Path, seed: int, method: str) -> Score:
    """Train by a method on the texts that were drawn into `folder`, and score it."""
    files: dict[str, Any] = {name: folder / f"{name}.jsonl" for name in ("train", "dev", "test")}
    if method in SETFIT:
        iterations = arguments.iterations if SETFIT[method] is None else SETFIT[method]
        script = Path(__file__).with_name("setfit_peer.py")
        asked = [find_base("minilm").location, files["train"], files["test"], str(seed), str(iterations)]
        done = subprocess.run(
            [arguments.python, script, *asked],
            check=True,
            stdout=subprocess.PIPE,
            encoding="utf-8",
            env=os.environ | {"HF_HUB_OFFLINE": "1"},
        )
        peer: Score = json.loads(done.stdout.splitlines()[-1])
        return peer
    options = {
        name: [folder / UNLABELLED] if value == [UNLABELLED] else value for name, value in METHODS[method].items()
    }
    if options["method"] == "few-shot":
        options["num_iterations"] = arguments.iterations
    if options["method"] == "full":
        # Three epochs of 16 texts are three steps: by default it gets as many passes as few-shot has pairs.
        options |= {"epochs": arguments.epochs, "patience": arguments.epochs, "batch_size": 8}
    config = TrainConfig(**files, output=folder / method, seed=seed, report=False, **options)
    train_model(prepare(config))
    record = json.loads((config.output / "training.json").read_bytes())
    return {"accuracy": record["metrics"]["test"]["accuracy"], "seconds": record["seconds"]}


def _draw(arguments: argparse.Namespace, folder: Path, seed: int) -> None:
    """Write `texts` lines of each label of train, some of dev and of test."""
    draw = random.Random(seed)  # noqa: S311 - not for secrets
    lines, held, asked = (
        (arguments.folder / f"{name}.jsonl").read_text(encoding="utf-8").splitlines(keepends=True)
        for name in ("train", "dev", "test")
    )
    by_label = defaultdict(list)
    for line in lines:
        by_label[json.loads(line)["label"]].append(line)
    chosen = [line for label in sorted(by_label) for line in draw.sample(by_label[label], arguments.texts)]
    (folder / "train.jsonl").write_text("".join(chosen), encoding="utf-8")
    (folder / "dev.jsonl").write_text("".join(draw.sample(held, arguments.dev)), encoding="utf-8")
    drawn = {*chosen}
    rest = [json.loads(line)["text"] for line in lines if line not in drawn]
    texts = draw.sample(rest, min(arguments.unlabelled, len(rest)))
    (folder / UNLABELLED).write_text("".join(f"{text}\n" for text in texts), encoding="utf-8")
    # The same for every draw; test may be sorted by label.
    tested = random.Random(0).sample(asked, min(arguments.tested, len(asked)))  # noqa: S311 - not for secrets
    (folder / "test.jsonl").write_text("".join(tested), encoding="utf-8")


def _interval(values: list[float]) -> dict[str, float]:
    """Return the mean and half the width of its 95% interval by Student's t, 0 for a single value."""
    half = 0.0
    if len(values) > 1:
        half = float(t.ppf(0.975, len(values) - 1)) * statistics.stdev(values) / len(values) ** 0.5
    return {"mean": round(statistics.mean(values), 4), "half": round(half, 4)}


def _summary(draws: list[Scores]) -> dict[str, Any]:
    """Return of each method, on its draws, the accuracy, that of the first less its own, and the median seconds."""
    result: dict[str, Any] = {}
    first = next(iter(draws[0]), "")
    for name in dict.fromkeys(name for draw in draws for name in draw):
        both = [(draw[first], draw[name]) for draw in draws if name in draw]
        result[name] = {
            "draws": len(both),
            "accuracy": _interval([theirs["accuracy"] for _, theirs in both]),
            "first less this": _interval([ours["accuracy"] - theirs["accuracy"] for ours, theirs in both]),
            "seconds": statistics.median(theirs["seconds"] for _, theirs in both),
        }
    return result


def _read(arguments: argparse.Namespace) -> dict[str, Any]:
    output: Path = arguments.output
    document: dict[str, Any] = json.loads(output.read_text(encoding="utf-8")) if output.exists() else {}
    return document


def _draws(arguments: argparse.Namespace) -> dict[str, Scores]:
    """Return what the file has of the set, by seed."""
    draws: dict[str, Scores] = _read(arguments).get(arguments.folder.name, {}).get("draws", {})
    return draws


def _write(arguments: argparse.Namespace, seed: int, method: str, score: Score) -> None:
    """Add a score to those that the file has."""
    draws = _draws(arguments)
    draws.setdefault(str(seed), {})[method] = score
    found = {
        "texts_per_label": arguments.texts,
        "tested": arguments.tested,
        "epochs": arguments.epochs,
        "iterations": arguments.iterations,
        "machine": machine(),
        "methods": _summary(list(draws.values())),
        "draws": draws,
    }
    document = _read(arguments) | {arguments.folder.name: found}
    arguments.output.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")


def _table(draws: list[Scores]) -> Table:
    table = Table("method", "draws", "accuracy", "first less this", "seconds")
    for name, each in _summary(draws).items():
        intervals = (_shown(each[figure]) for figure in ("accuracy", "first less this"))
        table.add_row(name, str(each["draws"]), *intervals, f"{each['seconds']:.0f}")
    return table


def _shown(interval: dict[str, float]) -> str:
    return f"{interval['mean']:.4f} ± {interval['half']:.4f}"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="bench.methods.few_shot", description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--texts", type=int, default=8, help="of each label")
    parser.add_argument("--draws", type=int, nargs="+", default=range(5), help="seeds; the file keeps those it has")
    parser.add_argument("--tested", type=int, default=1000, help="rows of test at most")
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=["few-shot", "frozen", "full"])
    parser.add_argument("--iterations", type=int, default=20, help="num_iterations of few-shot and setfit")
    parser.add_argument("--epochs", type=int, default=20, help="of full")
    # It chooses the epoch of full; few-shot and frozen read none of it. Halved, the choice is by chance.
    parser.add_argument("--dev", type=int, default=50, help="rows of dev")
    parser.add_argument("--unlabelled", type=int, default=1500, help="texts for self-train and adapt")
    parser.add_argument("--setfit", nargs="*", choices=SETFIT, default=list(SETFIT))
    parser.add_argument(
        "--python", type=Path, default=Path(".setfit/bin/python"), help="with setfit; skipped if absent"
    )
    parser.add_argument("--output", type=Path, default=Path("bench/results/few-shot.json"))
    return parser


if __name__ == "__main__":
    main()
