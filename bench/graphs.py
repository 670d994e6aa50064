"""CPU time of a text in each graph of one checkpoint: padded and packed, fp32 and int8, by order and mix of lengths.

One thread, batches of 32, tokenizing not included; the graphs take turns, and the median round counts. Figures are
CPU-milliseconds a text. Run it with `make bench-graphs`, or `python -m bench.graphs CHECKPOINT TEXTS --output JSON`.
"""

import argparse
import json
import tempfile
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from statistics import median

import numpy as np
from rich.table import Table

from bench.machine import machine
from bench.texts import read_texts
from bertwire_core.console import out, tracked
from bertwire_core.process import readable
from bertwire_export.candidates import Workshop
from bertwire_export.checkpoint import load_checkpoint
from bertwire_export.config import Precision
from bertwire_export.convert import convert
from bertwire_export.packed.weights import read_encoder
from bertwire_export.serving_tokenizer import serving_tokenizer
from bertwire_runtime.layouts import Tokens
from bertwire_runtime.runner import Runner

BATCH = 32
_SHORT, _LONG = 5, 500
# The line that the others are held against: what ONNX Runtime's own tools make, on batches sorted by length.
BASE = ("fp32-padded", "sorted")

Figures = dict[str, dict[str, float]]


def main() -> None:
    """Build the graphs, measure them, print the table and write the JSON."""
    parser = argparse.ArgumentParser(prog="bench.graphs", description=__doc__)
    parser.add_argument("--checkpoint", type=Path, default=Path("build/demo/checkpoint"))
    parser.add_argument("--texts", type=Path, default=Path("build/demo/test.csv"), help="table with a column text")
    parser.add_argument("--most", type=int, default=1024, help="texts to measure on, at most")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--output", type=Path, default=Path("bench/results/graphs-cpu.json"))
    arguments = parser.parse_args()
    with readable("bench"):
        figures, lengths = measure(arguments.checkpoint, arguments.texts, arguments.most, arguments.rounds)
        document = {
            "texts": arguments.texts.name,
            "tokens": {"mean": float(lengths.mean()), "p95": float(np.percentile(lengths, 95)), "count": len(lengths)},
            "machine": machine(),
            "cpu_ms_per_text": figures,
        }
        arguments.output.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")
        out.print(_table(figures, lengths))
        out.print(f"written to {arguments.output}")


def measure(checkpoint_path: Path, texts: Path, most: int, rounds: int) -> tuple[Figures, np.ndarray]:
    """Return CPU-milliseconds a text by graph and order, and the texts' lengths in tokens, int64 [texts]."""
    checkpoint = load_checkpoint(checkpoint_path)
    encodings = serving_tokenizer(checkpoint).encode_batch(read_texts(texts))
    chosen = encodings[:most]
    with tempfile.TemporaryDirectory(prefix="bertwire-bench-") as name:
        folder = Path(name)
        encoder, calibration = read_encoder(checkpoint.model), encodings[most:] or encodings
        workshop = Workshop(checkpoint, encoder, calibration, folder, partial(convert, checkpoint.model))
        recipes = workshop.recipes([Precision.FP32, Precision.INT8], ["cpu"])
        graphs = [workshop.build(recipe) for recipe in (workshop.padded(Precision.FP32), *recipes)]
        runners = {graph.name: Runner(graph.path, graph.layout, "cpu", threads=1) for graph in graphs}
        batches = orders(chosen)
        turns = [(graph, order) for _ in range(rounds) for graph in runners for order in batches]
        found: dict[tuple[str, str], list[float]] = {turn: [] for turn in turns}
        for graph, order in tracked(turns, "graphs in turn", len(turns)):
            found[graph, order].append(_cpu_ms(runners[graph], batches[order]))
    figures: Figures = {}
    for (name, order), values in found.items():
        figures.setdefault(name, {})[order] = median(values)
    return figures, np.array([len(each.ids) for each in chosen])


def orders(texts: Sequence[Tokens]) -> dict[str, list[list[Tokens]]]:
    """Return the texts in batches in order of arrival and sorted by length, and the first sixteenth one at a time.

    Where there are long ones, also batches of 16 texts of 500 tokens between 16 of 5.
    """
    found = {
        "arrival": _batches(texts, BATCH),
        "sorted": _batches(sorted(texts, key=lambda text: len(text.ids)), BATCH),
        "one at a time": _batches(texts[: max(len(texts) // 16, 1)], 1),
    }
    long = [text for text in texts if len(text.ids) >= _LONG][: 4 * BATCH]
    if len(long) >= BATCH:
        mixed = [_Cut(text, _LONG if place % 2 else _SHORT) for place, text in enumerate(long)]
        found["5 beside 500"] = _batches(mixed, BATCH)
        found["5 and 500, sorted"] = _batches(sorted(mixed, key=lambda text: len(text.ids)), BATCH)
    return found


class _Cut:
    """The first tokens of a text."""

    def __init__(self, text: Tokens, tokens: int) -> None:
        self.ids, self.type_ids = text.ids[:tokens], text.type_ids[:tokens]


def _batches(texts: Sequence[Tokens], size: int) -> list[list[Tokens]]:
    return [list(texts[start : start + size]) for start in range(0, len(texts), size)]


def _cpu_ms(runner: Runner, batches: list[list[Tokens]]) -> float:
    """Return CPU-milliseconds a text, laying out included: it is part of a layout's cost."""
    start = time.thread_time()
    for batch in batches:
        runner.run(runner.arrange(batch))
    return 1e3 * (time.thread_time() - start) / sum(map(len, batches))


def _table(figures: Figures, lengths: np.ndarray) -> Table:
    base = figures[BASE[0]][BASE[1]]
    title = (
        f"CPU-ms a text, {len(lengths)} texts of {lengths.mean():.0f} tokens in the mean; "
        f"in brackets over {BASE[0]}, {BASE[1]}"
    )
    orders_ = list(next(iter(figures.values())))
    table = Table("", *orders_, "arrival / sorted", title=title)
    for graph, found in figures.items():
        cells = (f"{found[order]:.2f} ({found[order] / base:.2f})" for order in orders_)
        table.add_row(graph, *cells, f"{found['arrival'] / found['sorted']:.2f}")
    return table


if __name__ == "__main__":
    main()
