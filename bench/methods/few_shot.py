"""Methods of `bertwire train` on a few texts of each label, and SetFit's own where it is installed.

`python -m bench.methods.few_shot FOLDER` takes train.jsonl, dev.jsonl and test.jsonl of FOLDER, draws the same texts of
train for every method, and scores each on the whole of test. The set has one label for each text. For SetFit:
`uv venv .setfit && uv pip install --python .setfit/bin/python setfit==1.2.*`.
"""

import argparse
import json
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
from bertwire_core.console import err, out
from bertwire_core.process import readable
from bertwire_trainer.base import find_base
from bertwire_trainer.config import TrainConfig
from bertwire_trainer.prepare import prepare
from bertwire_trainer.quiet import quiet_libraries
from bertwire_trainer.train import train_model

# Options of each method. Three epochs of 16 texts are three steps: full gets as many passes as few-shot has pairs.
METHODS: dict[str, dict[str, Any]] = {
    "few-shot": {},
    "frozen": {},
    "full": {"epochs": 20, "patience": 20, "batch_size": 8},
}
# num_iterations of SetFit: as few-shot has it; 0, SetFit's default, is every pair, too many for many labels.
SETFIT = {"setfit, 20 iterations": 20, "setfit, every pair": 0}
# Texts of dev, which chooses the epoch of full; few-shot and frozen read none of them. Halved, the choice is by chance.
_DEV = 100
# Accuracy and seconds.
Score = dict[str, float]


def main() -> None:
    """Draw, train, score; write the JSON after each draw; print the table."""
    arguments = _parser().parse_args()
    quiet_libraries()
    found: dict[str, list[Score]] = defaultdict(list)
    with readable("few-shot"):
        for seed in range(arguments.draws):
            with tempfile.TemporaryDirectory() as folder:
                for name, score in _scores(arguments, Path(folder), seed).items():
                    found[name].append(score)
            _write(arguments, found)
    out.print(_table(found))


def _scores(arguments: argparse.Namespace, folder: Path, seed: int) -> dict[str, Score]:
    """Return the score of each method on the texts that `seed` draws."""
    test = arguments.folder / "test.jsonl"
    _draw(arguments, folder, seed)
    scores = {}
    for method, options in METHODS.items():
        given = {"train": folder / "train.jsonl", "dev": folder / "dev.jsonl", "test": test, "seed": seed}
        config = TrainConfig(**given, output=folder / method, method=method, **options)
        train_model(prepare(config))
        record = json.loads((config.output / "training.json").read_bytes())
        scores[method] = {"accuracy": record["metrics"]["test"]["accuracy"], "seconds": record["seconds"]}
    base, script = find_base("minilm").location, Path(__file__).with_name("setfit_peer.py")
    for name in arguments.setfit if arguments.python.exists() else ():
        asked = [base, folder / "train.jsonl", test, str(seed), str(SETFIT[name])]
        done = subprocess.run([arguments.python, script, *asked], check=True, stdout=subprocess.PIPE, text=True)
        scores[name] = json.loads(done.stdout.splitlines()[-1])
    err.print(f"draw {seed}: {scores}")
    return scores


def _draw(arguments: argparse.Namespace, folder: Path, seed: int) -> None:
    """Write `texts` lines of each label of train, and the first of dev in an order of its own."""
    draw = random.Random(seed)  # noqa: S311 - not for secrets
    lines = (arguments.folder / "train.jsonl").read_text(encoding="utf-8").splitlines(keepends=True)
    by_label = defaultdict(list)
    for line in lines:
        by_label[json.loads(line)["label"]].append(line)
    chosen = [line for label in sorted(by_label) for line in draw.sample(by_label[label], arguments.texts)]
    (folder / "train.jsonl").write_text("".join(chosen), encoding="utf-8")
    held = (arguments.folder / "dev.jsonl").read_text(encoding="utf-8").splitlines(keepends=True)
    (folder / "dev.jsonl").write_text("".join(draw.sample(held, _DEV)), encoding="utf-8")


def _interval(values: list[float]) -> dict[str, float]:
    """Return the mean and half the width of its 95% interval by Student's t, 0 for a single value."""
    half = 0.0
    if len(values) > 1:
        half = float(t.ppf(0.975, len(values) - 1)) * statistics.stdev(values) / len(values) ** 0.5
    return {"mean": round(statistics.mean(values), 4), "half": round(half, 4)}


def _summary(found: dict[str, list[Score]]) -> dict[str, Any]:
    """Return of each method the accuracy, that of few-shot less its own on the same draws, the seconds, the scores."""
    ours = [score["accuracy"] for score in found["few-shot"]]
    result = {}
    for name, scores in found.items():
        theirs = [score["accuracy"] for score in scores]
        result[name] = {
            "accuracy": _interval(theirs),
            "few-shot less this": _interval([one - other for one, other in zip(ours, theirs, strict=True)]),
            "seconds": round(statistics.median(score["seconds"] for score in scores), 1),
            "draws": scores,
        }
    return result


def _write(arguments: argparse.Namespace, found: dict[str, list[Score]]) -> None:
    """Put the set into the file, beside others that were measured before."""
    document = json.loads(arguments.output.read_text(encoding="utf-8")) if arguments.output.exists() else {}
    document[arguments.folder.name] = {
        "texts_per_label": arguments.texts,
        "options": METHODS,
        "machine": machine(),
        "methods": _summary(found),
    }
    arguments.output.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")


def _table(found: dict[str, list[Score]]) -> Table:
    table = Table("method", "accuracy", "few-shot less this", "seconds", title=f"{len(found['few-shot'])} draws")
    for name, each in _summary(found).items():
        table.add_row(name, _shown(each["accuracy"]), _shown(each["few-shot less this"]), f"{each['seconds']:.0f}")
    return table


def _shown(interval: dict[str, float]) -> str:
    return f"{interval['mean']:.4f} ± {interval['half']:.4f}"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="bench.methods.few_shot", description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--texts", type=int, default=8, help="of each label")
    parser.add_argument("--draws", type=int, default=5)
    parser.add_argument("--setfit", nargs="*", choices=SETFIT, default=list(SETFIT))
    parser.add_argument(
        "--python", type=Path, default=Path(".setfit/bin/python"), help="with setfit; skipped if absent"
    )
    parser.add_argument("--output", type=Path, default=Path("bench/results/few-shot.json"))
    return parser


if __name__ == "__main__":
    main()
