"""ONNX Runtime's memory settings: resident memory and CPU time over batches of ever other shapes.

`python -m bench.memory BUNDLE [--batches 3000]` runs the same random batches under each setting, each in a process of
its own on one thread, and prints a table. The server's settings are in `bertwire_runtime.session`.
"""

import argparse
import json
import random
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import onnxruntime
import psutil
from rich.table import Table

from bertwire_core.console import out, tracked
from bertwire_core.errors import UserError
from bertwire_core.process import readable
from bertwire_runtime.bundle import open_bundle
from bertwire_runtime.layouts import arrange, variant_layout

TOKENS, TEXTS = 4096, 32  # the server's default budget
WARM_SHARE = 0.2  # of the batches, after which growth counts
SHRUNK = "arena, pattern, shrunk after each run"


@dataclass(frozen=True, slots=True)
class Tokens:
    """A text of token ids."""

    ids: Sequence[int]
    type_ids: Sequence[int]


def _as_requested(options: onnxruntime.SessionOptions) -> None:
    """Let the arena grow by what is requested, not by doubling."""
    kind, place = onnxruntime.OrtAllocatorType.ORT_ARENA_ALLOCATOR, onnxruntime.OrtMemType.DEFAULT
    memory = onnxruntime.OrtMemoryInfo("Cpu", kind, 0, place)
    onnxruntime.create_and_register_allocator(memory, onnxruntime.OrtArenaCfg(0, 1, -1, -1))
    options.add_session_config_entry("session.use_env_allocators", "1")


def _without(*switches: str) -> Callable[[onnxruntime.SessionOptions], None]:
    def change(options: onnxruntime.SessionOptions) -> None:
        for each in switches:
            setattr(options, each, False)

    return change


SETTINGS: dict[str, Callable[[onnxruntime.SessionOptions], None]] = {
    "arena, no pattern": _without("enable_mem_pattern"),
    "arena, pattern (ONNX Runtime's default)": _without(),
    "arena as requested, pattern": _as_requested,
    SHRUNK: _without(),
    "no arena, pattern": _without("enable_cpu_mem_arena"),
    "no arena, no pattern": _without("enable_cpu_mem_arena", "enable_mem_pattern"),
}


def main() -> None:
    """Compare the settings, each in a process of its own, or run one of them and print JSON."""
    parser = argparse.ArgumentParser(prog="bench.memory", description=__doc__)
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--batches", type=int, default=3000)
    parser.add_argument("--variant", default="int8")
    parser.add_argument("--setting", choices=SETTINGS, help="run this one alone, and print JSON")
    arguments = parser.parse_args()
    with readable("bench"):
        if arguments.setting:
            out.print_json(
                json.dumps(measure(arguments.bundle, arguments.variant, arguments.setting, arguments.batches))
            )
            return
        table = Table(
            "", "start", "after warm-up", "end", "growth", "CPU-s", title=f"MiB resident, {arguments.variant}"
        )
        for setting in tracked(list(SETTINGS), "settings", len(SETTINGS)):
            found = _child(arguments, setting)
            table.add_row(
                setting,
                *(f"{found[key]:.0f}" for key in ("start", "warm", "end")),
                f"{found['end'] / found['warm'] - 1:.1%}",
                f"{found['cpu']:.1f}",
            )
        out.print(table)


def measure(path: Path, variant: str, setting: str, batches: int) -> dict[str, float]:
    """Run the batches; return resident MiB before, after the warm-up and at the end, and CPU-seconds after it."""
    bundle = open_bundle(path)
    chosen = next((each for each in bundle.manifest.variants if each.precision == variant), None)
    if chosen is None:
        raise UserError(f"the bundle has no variant {variant}")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    SETTINGS[setting](options)
    session = onnxruntime.InferenceSession(bundle.read(chosen.file), options, providers=["CPUExecutionProvider"])
    run_options = onnxruntime.RunOptions()
    if setting == SHRUNK:
        run_options.add_run_config_entry("memory.enable_memory_arena_shrinkage", "cpu:0")
    names = [each.name for each in session.get_inputs()]
    layout = variant_layout(bundle.manifest, chosen)
    generator = random.Random(1)  # noqa: S311 - test data
    process = psutil.Process()
    figures = {"start": process.memory_info().rss / 2**20}
    warm = round(batches * WARM_SHARE)
    for number in range(batches):
        if number == warm:
            figures["warm"] = process.memory_info().rss / 2**20
            began = time.process_time()
        arrays = arrange(_batch(generator, bundle.manifest.max_length), layout)
        session.run(["logits"], {name: arrays[name] for name in names}, run_options)
    return figures | {"end": process.memory_info().rss / 2**20, "cpu": time.process_time() - began}


def _batch(generator: random.Random, longest: int) -> list[Tokens]:
    """Return a batch within the token budget, mostly of short texts, sometimes with a long one."""
    texts: list[Tokens] = []
    for _ in range(generator.randint(1, TEXTS)):
        length = min(longest, 3 + int(generator.expovariate(1 / 24)))
        if generator.random() < 0.02:
            length = generator.randint(3, longest)
        if (len(texts) + 1) * max(length, *(len(each.ids) for each in texts), 0, 0) > TOKENS:
            break
        texts.append(Tokens([5] * length, [0] * length))
    return texts


def _child(arguments: argparse.Namespace, setting: str) -> dict[str, float]:
    command = [sys.executable, "-m", "bench.memory", str(arguments.bundle), "--setting", setting]
    command += ["--batches", str(arguments.batches), "--variant", arguments.variant]
    done = subprocess.run(command, capture_output=True, text=True, check=False, encoding="utf-8")
    if done.returncode:
        raise UserError(f"{setting} failed: {done.stderr.strip().rpartition(chr(10))[2]}")
    figures: dict[str, float] = json.loads(done.stdout)
    return figures


if __name__ == "__main__":
    main()
