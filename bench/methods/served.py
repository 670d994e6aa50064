"""Every method of `bertwire train` from labelled rows to a server: score, training time, gate and speed.

`python -m bench.methods.served FOLDER` takes train.jsonl, dev.jsonl and test.jsonl of FOLDER, a set with one label for
each text. It trains each method, exports the checkpoint, and serves the bundle. Checkpoints and bundles stay in
`--work`; what is there is used again. Speeds are measured in turns, a server of one thread on a core of its own.
"""

import argparse
import json
import os
import random
import resource
import subprocess
from collections import defaultdict
from pathlib import Path
from typing import Any

from rich.table import Table

from bench.figures import Figures, over_rounds
from bench.machine import machine
from bench.measure import interleaved
from bench.plan import IN_FLIGHT
from bench.processes import SERVER_CORE, client, raw, serving
from bench.raw import BATCH
from bench.sides import Side
from bertwire_core.console import err, out
from bertwire_core.process import readable

# Options of each row of the table; {full} is the checkpoint of the first, {few} a file of few rows.
METHODS: dict[str, list[str]] = {
    "full": [],
    "lora": ["--method", "lora"],
    "ia3": ["--method", "ia3"],
    "frozen": ["--method", "frozen"],
    "few-shot": ["--method", "few-shot", "--train", "{few}"],
    "prototypes": ["--method", "prototypes"],
    "zero-shot": ["--method", "zero-shot"],
    "distill, half": ["--method", "distill", "--teacher", "{full}", "--prune", "--prune-layers", "3"],
}
# Rows of each label for few-shot; at twice as many `full` is the better method.
_FEW = 64
# Texts of a measurement, and those that are sent one at a time.
_TEXTS, _SINGLE = 1024, 256


def main() -> None:
    """Train, export and serve what is missing; write the JSON and print the table."""
    parser = argparse.ArgumentParser(prog="bench.methods.served", description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=list(METHODS))
    parser.add_argument("--work", type=Path, default=Path("build/methods"))
    parser.add_argument("--rounds", type=int, default=3, help="turns of each server; 0 measures no speed")
    parser.add_argument("--output", type=Path, default=Path("bench/results/served-methods.json"))
    arguments = parser.parse_args()
    with readable("served"):
        arguments.work.mkdir(parents=True, exist_ok=True)
        _write_few(arguments.folder / "train.jsonl", arguments.work / "few.jsonl")
        found = {name: _made(arguments, name) for name in arguments.methods}
        served = [name for name, each in found.items() if each["variants"]]
        sides = [Side(name, "", _bertwire(), _place(arguments, name) / "bundle") for name in served]
        for name, figures in _speeds(sides, found, arguments).items():
            found[name]["speed"] = figures
        document = {"data": arguments.folder.name, "machine": machine(), "methods": found}
        arguments.output.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")
    out.print(_table(found))


def _made(arguments: argparse.Namespace, name: str) -> dict[str, Any]:
    """Train and export; return the scores on test, what it took and what the gate let through."""
    place = _place(arguments, name)
    place.mkdir(parents=True, exist_ok=True)
    checkpoint, bundle, kept = place / "checkpoint", place / "bundle", place / "made.json"
    if kept.exists():
        found: dict[str, Any] = json.loads(kept.read_bytes())
        return found
    splits = {split: str(arguments.folder / f"{split}.jsonl") for split in ("train", "dev", "test")}
    paths = {"full": _place(arguments, "full") / "checkpoint", "few": arguments.work / "few.jsonl"}
    options = [option.format(**paths) for option in METHODS[name]]
    files = [f"--{split}={path}" for split, path in splits.items() if f"--{split}" not in options]
    seconds = _timed("train", *files, "--output", checkpoint, "--overwrite", "--no-report", *options)
    record = json.loads((checkpoint / "training.json").read_bytes())
    exported = _timed("export", checkpoint, "--output", bundle, "--overwrite", allowed=(0, 1))
    found = {
        "options": METHODS[name],
        "test": record["metrics"]["test"],
        "rows": record["data"]["train"]["rows"],
        "train_cpu_seconds": round(seconds, 1),
        "export_cpu_seconds": round(exported, 1),
        "variants": _variants(bundle / "manifest.json"),
    }
    kept.write_text(json.dumps(found), encoding="utf-8")
    return found


def _variants(manifest: Path) -> list[str]:
    """Return the variants of a bundle; none where no graph passed the gate, and there is no bundle."""
    return [each["name"] for each in json.loads(manifest.read_bytes())["variants"]] if manifest.exists() else []


def _speeds(sides: list[Side], found: dict[str, Any], arguments: argparse.Namespace) -> dict[str, dict[str, Figures]]:
    """Return of each bundle's first variant the medians over the rounds: raw, by a stream, one call at a time."""
    turns: dict[str, dict[str, list[Figures]]] = defaultdict(lambda: defaultdict(list))
    texts = arguments.folder / "test.jsonl"
    for side in interleaved(sides, arguments.rounds):
        err.print(f"{side.name}: speed")
        variant = "int8" if any(each.startswith("int8") for each in found[side.name]["variants"]) else "fp32"
        turns[side.name]["raw"].append(raw(side.bundle, variant, texts, BATCH, _TEXTS))
        with serving(side, variant) as server:
            for mode, options in {
                "stream": {"in_flight": IN_FLIGHT, "most": _TEXTS},
                "closed": {"in_flight": 1, "texts_each": 1, "most": _SINGLE},
            }.items():
                turns[side.name][mode].append(client(server, mode, texts, options)[0])
    return {name: {mode: over_rounds(each) for mode, each in modes.items()} for name, modes in turns.items()}


def _write_few(train: Path, few: Path) -> None:
    draw = random.Random(0)  # noqa: S311 - not for secrets
    by_label = defaultdict(list)
    for line in train.read_text(encoding="utf-8").splitlines(keepends=True):
        by_label[json.loads(line)["label"]].append(line)
    drawn = [line for lines in by_label.values() for line in draw.sample(lines, min(_FEW, len(lines)))]
    few.write_text("".join(drawn), encoding="utf-8")


def _timed(*arguments: object, allowed: tuple[int, ...] = (0,)) -> float:
    """Run a `bertwire` command on one thread of the server's core; return its CPU-seconds."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    command = ["taskset", "--cpu-list", str(SERVER_CORE), str(_bertwire()), *map(str, arguments)]
    done = subprocess.run(command, check=False, env=os.environ | {"OMP_NUM_THREADS": "1"})
    if done.returncode not in allowed:
        raise subprocess.CalledProcessError(done.returncode, command)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def _bertwire() -> Path:
    return Path(".venv/bin/bertwire")


def _place(arguments: argparse.Namespace, name: str) -> Path:
    folder: Path = arguments.work
    return folder / name.replace(", ", "-").replace(" ", "-")


def _table(found: dict[str, Any]) -> Table:
    speeds = "raw, CPU-ms a text", "served", "one call at a time"
    table = Table("method", "rows", "accuracy", "train CPU-s", "variants", *speeds)
    for name, each in found.items():
        speed = each.get("speed", {})
        modes = ("raw", "stream", "closed")
        shown = [f"{speed[mode]['cpu_ms_per_text']:.2f}" if mode in speed else "-" for mode in modes]
        counts = str(each["rows"]), f"{each['test']['accuracy']:.3f}", f"{each['train_cpu_seconds']:.0f}"
        table.add_row(name, *counts, ", ".join(each["variants"]), *shown)
    return table


if __name__ == "__main__":
    main()
