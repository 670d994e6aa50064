"""Methods of `bertwire train` on whole sets, beside transformers' own recipe (bench.methods.plain).

`python -m bench.methods.compare FOLDER... --methods full plain --seeds 1 2 3` trains each method on each folder's
train.jsonl, dev.jsonl and test.jsonl, in a process of its own on one thread, writes every result into
bench/results/methods.json, goes on from that, and prints a table. `--methods` without a value: those of the table.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import mean
from typing import Any

from bench.machine import machine
from bertwire_core.console import out
from bertwire_core.process import readable

# Options of `bertwire train` for each name of the table.
METHODS: dict[str, list[str]] = {
    "full": [],
    "lora": ["--method", "lora"],
    "ia3": ["--method", "ia3"],
    "frozen": ["--method", "frozen"],
    "prototypes": ["--method", "prototypes"],
}
PLAIN = "plain"
RESULTS = Path("bench/results/methods.json")


def main() -> None:
    """Train what is missing, then print the table."""
    parser = argparse.ArgumentParser(prog="compare", description=__doc__)
    parser.add_argument("folders", type=Path, nargs="+")
    parser.add_argument("--methods", nargs="+", default=["full", PLAIN], choices=[*METHODS, PLAIN])
    parser.add_argument("--seeds", type=int, nargs="+", default=[1])
    parser.add_argument("--results", type=Path, default=RESULTS)
    arguments = parser.parse_args()
    with readable("compare"):
        for seed in arguments.seeds:
            for folder in arguments.folders:
                for method in arguments.methods:
                    _once(arguments.results, folder, method, seed)
        _table(_read(arguments.results))


def _once(results: Path, folder: Path, method: str, seed: int) -> None:
    key = f"{folder.name} {method} {seed}"
    if key in _read(results):
        return
    out.print(key)
    # The rows before it say how many epochs `bertwire train` took by default: the plain script gets as many.
    found = _plain(folder, _read(results)[f"{folder.name} full {seed}"]["epochs"], seed) if method == PLAIN else None
    record = found or _trained(folder, METHODS[method], seed)
    results.write_text(
        json.dumps(_read(results) | {key: record | {"machine": machine()}}, indent=1) + "\n", encoding="utf-8"
    )


def _trained(folder: Path, options: list[str], seed: int) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as place:
        output = Path(place) / "checkpoint"
        files = [f"--{name}={folder / name}.jsonl" for name in ("train", "dev", "test")]
        command = [str(Path(sys.executable).with_name("bertwire")), "train", *files, "--output", str(output)]
        _, seconds = _timed([*command, "--seed", str(seed), "--no-report", *options])
        record = json.loads((output / "training.json").read_text(encoding="utf-8"))
    return {
        "metrics": record["metrics"],
        "cpu_seconds": seconds,
        "epochs": record["recipe"].get("epochs"),
        "best_epoch": record["best_epoch"],
        "options": options,
    }


def _plain(folder: Path, epochs: int, seed: int) -> dict[str, Any]:
    command = [sys.executable, "-m", "bench.methods.plain", str(folder), f"--epochs={epochs}", f"--seed={seed}"]
    printed, seconds = _timed(command)
    found: dict[str, Any] = json.loads(printed.splitlines()[-1])
    return found | {"cpu_seconds": seconds, "epochs": epochs}


def _timed(command: list[str]) -> tuple[str, float]:
    """Run a command on one thread; return what it prints and its CPU-seconds."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(
        command, check=True, stdout=subprocess.PIPE, encoding="utf-8", env=os.environ | {"OMP_NUM_THREADS": "1"}
    )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return done.stdout, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def _read(results: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(results.read_text(encoding="utf-8")) if results.exists() else {}
    return found


def _table(results: dict[str, Any]) -> None:
    """Print, for each set and method, the mean of the main score on test over the seeds, in points."""
    rows: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for key, record in results.items():
        folder, method = key.split(" ", 1)
        rows.setdefault((folder, method.rsplit(" ", 1)[0]), []).append(record)
    out.print("| set | method | test | seeds | epochs | CPU-s |\n|---|---|---|---|---|---|")
    for (folder, method), found in rows.items():
        score = 100 * mean(next(iter(each["metrics"]["test"].values())) for each in found)
        seconds = mean(each["cpu_seconds"] for each in found)
        out.print(f"| {folder} | {method} | {score:.1f} | {len(found)} | {found[0]['epochs']} | {seconds:.0f} |")


if __name__ == "__main__":
    main()
