"""The demo's model on a CUDA device: exported, compared with PyTorch, and timed against the device's ceiling.

`make gpu-check` runs it. It exports as `bertwire export --force` does and prints what that says, then measures texts a
second at lengths of 16 to 512 tokens for each CUDA variant, beside what the device's rate for matrix products, measured
in the same run, would allow. Where there is no CUDA device it says so and ends with status 1.
"""

import argparse
import json
import time
from collections.abc import Callable
from pathlib import Path

import torch
from rich.table import Table

from bench.machine import machine
from bertwire_core.console import err, out, tracked
from bertwire_core.errors import UserError
from bertwire_core.process import readable
from bertwire_export.apart import run_apart
from bertwire_export.checkpoint import load_checkpoint
from bertwire_export.cli import run_export
from bertwire_export.config import ExportConfig
from bertwire_export.measure import cuda_name
from bertwire_runtime.bundle import Bundle, Variant, open_bundle
from bertwire_runtime.layouts import variant_layout
from bertwire_runtime.runner import Runner
from bertwire_runtime.session import cuda_fault

LENGTHS = (16, 32, 64, 128, 256, 512)
_TOKENS = 16384
_SECONDS = 1.0
_CEILING_SIZE = 8192


class _Text:
    """A text of one word's token, repeated."""

    def __init__(self, tokens: int) -> None:
        self.ids, self.type_ids = [1037] * tokens, [0] * tokens


def main() -> None:
    """Export, measure, print one table and write the JSON."""
    parser = argparse.ArgumentParser(prog="bench.gpu", description=__doc__)
    parser.add_argument("--checkpoint", type=Path, default=Path("build/demo/checkpoint"))
    parser.add_argument("--bundle", type=Path, default=Path("build/gpu-check"))
    parser.add_argument("--output", type=Path, default=Path("bench/results/gpu.json"))
    arguments = parser.parse_args()
    with readable("bench"):
        if fault := cuda_fault() or (None if torch.cuda.is_available() else "PyTorch finds no CUDA device here"):
            raise UserError(f"gpu-check was not run: {fault}")
        # What breaks a limit is measured too: the table says so.
        run_export(ExportConfig(checkpoint=arguments.checkpoint, output=arguments.bundle, overwrite=True, force=True))
        bundle = open_bundle(arguments.bundle)
        ceiling = matmul_rate()
        on_cuda = [each for each in bundle.manifest.variants if "cuda" in each.providers]
        rates: dict[str, dict[int, float]] = {}
        for each in on_cuda:
            try:
                rates[each.name] = run_apart(texts_per_second, bundle, each)
            except UserError as error:
                err.print(f"{each.name}: {error}", markup=False, highlight=False, soft_wrap=True)
        if not rates:
            raise UserError("no variant runs on CUDA; the lines above say why")
        limits = _limits(arguments.checkpoint, ceiling)
        document = {
            "machine": machine() | {"gpu": cuda_name()},
            "matrix_tflops_fp16": ceiling / 1e12,
            "texts_per_second": rates | {"ceiling": limits},
            "proofs": [each.model_dump(mode="json") for each in bundle.manifest.variants],
        }
        arguments.output.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")
        out.print(_table(rates, limits, ceiling))


def matmul_rate() -> float:
    """Return the floating-point operations a second of a large fp16 matrix product."""
    one, other = (torch.randn(_CEILING_SIZE, _CEILING_SIZE, device="cuda", dtype=torch.float16) for _ in range(2))

    def product() -> None:
        torch.matmul(one, other)
        torch.cuda.synchronize()

    return 2 * _CEILING_SIZE**3 * _per_second(product)


def texts_per_second(bundle: Bundle, variant: Variant) -> dict[int, float]:
    """Return texts a second by length in tokens, in batches of 16,384 tokens."""
    layout = variant_layout(bundle.manifest, variant)
    runner = Runner(bundle.path / variant.file.name, layout, "cuda", threads=1)
    found = {}
    for length in tracked(LENGTHS, variant.name, len(LENGTHS)):
        arrays = runner.arrange([_Text(length)] * (_TOKENS // length))
        found[length] = _TOKENS // length * _per_second(lambda arrays=arrays: runner.run(arrays))  # type: ignore[misc]
    return found


def _limits(checkpoint: Path, rate: float) -> dict[int, float]:
    """Return texts a second by length in tokens if nothing but matrix products took time."""
    config = load_checkpoint(checkpoint).model.config
    hidden, wide, layers = config.hidden_size, config.intermediate_size, config.num_hidden_layers
    return {
        length: rate / (layers * length * (2 * (4 * hidden * hidden + 2 * hidden * wide) + 4 * length * hidden))
        for length in LENGTHS
    }


def _per_second(call: Callable[[], object]) -> float:
    for _ in range(3):
        call()
    count, start = 0, time.perf_counter()
    while (seconds := time.perf_counter() - start) < _SECONDS:
        call()
        count += 1
    return count / seconds


def _table(rates: dict[str, dict[int, float]], limits: dict[int, float], ceiling: float) -> Table:
    title = f"texts a second on {cuda_name()}; matrix products {ceiling / 1e12:.0f} TFLOP/s in fp16"
    table = Table("tokens a text", *rates, "ceiling", "best of it", title=title)
    for length, limit in limits.items():
        found = [each[length] for each in rates.values()]
        table.add_row(str(length), *(f"{each:.0f}" for each in found), f"{limit:.0f}", f"{max(found) / limit:.0%}")
    return table


if __name__ == "__main__":
    main()
