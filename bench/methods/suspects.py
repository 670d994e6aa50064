"""How many labels that were flipped at random the report of a training finds.

`python -m bench.methods.suspects FOLDER` reads train.jsonl of FOLDER, whose rows have one label each, gives a share of
them another label, and prints how many of these are among the first tenth of the suspects.
"""

import argparse
import json
from pathlib import Path
from statistics import mean
from typing import Any

import numpy
from numpy.typing import NDArray

from bench.machine import machine
from bertwire_core.console import out
from bertwire_core.pooling import Pooling
from bertwire_core.process import readable
from bertwire_data.labelled import Columns, Labelled, encode_targets, label_order, read_labelled
from bertwire_trainer.base import find_base
from bertwire_trainer.linear import choose_strength
from bertwire_trainer.loading import load_encoder
from bertwire_trainer.predict import embed
from bertwire_trainer.quiet import quiet_libraries
from bertwire_trainer.report.suspects import doubt, ranked
from bertwire_trainer.tokenizer import load_tokenizer
from bertwire_trainer.tokens import tokenize

# Share of the flipped labels that must be among the first tenth of the rows.
BAR = 0.6
# Share of the labels that are flipped.
_FLIPPED = 0.05
# Tokens that a text is cut to, the default of `bertwire train`.
_MAX_LENGTH = 128


def main() -> None:
    """Flip and find with every seed, print and write the shares."""
    parser = argparse.ArgumentParser(prog="bench.methods.suspects", description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--output", type=Path, default=Path("bench/results/suspects.json"))
    arguments = parser.parse_args()
    with readable("bench"):
        quiet_libraries()
        rows = read_labelled(arguments.folder / "train.jsonl", Columns())
        labels = label_order(rows.names(), rows.task)
        targets, vectors = encode_targets(rows, labels), _vectors(rows, labels)
        found = [_found(rows, vectors, targets, labels, seed) for seed in range(arguments.seeds)]
        share = round(mean(found), 4)
        document = {
            "data": arguments.folder.name,
            "rows": len(rows),
            "labels": len(labels),
            "flipped": _FLIPPED,
            "found_in_the_first_tenth": {"mean": share, "seeds": found},
            "bar": {"share": BAR, "met": share >= BAR},
            "machine": machine(),
        }
        arguments.output.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")
        out.print_json(data=document)


def _vectors(rows: Labelled, labels: list[str]) -> NDArray[numpy.float32]:
    base = find_base("minilm")
    model, tokenizer = load_encoder(base, rows.task, labels, Pooling("mean")), load_tokenizer(base, rows.task, "right")
    tokenizer.model_max_length = _MAX_LENGTH
    tokens = tokenize(model, tokenizer, rows, encode_targets(rows, labels))
    (vectors,) = embed(model, tokenizer, tokens, f"embed {rows.source}")
    return vectors


def _found(
    rows: Labelled, vectors: NDArray[numpy.float32], targets: NDArray[Any], labels: list[str], seed: int
) -> float:
    """Return the share of the flipped rows that are among the first tenth of the suspects."""
    random = numpy.random.default_rng(seed)
    flipped = random.choice(len(rows), round(_FLIPPED * len(rows)), replace=False)
    given = targets.copy()
    given[flipped] = (given[flipped] + random.integers(1, len(labels), len(flipped))) % len(labels)
    strength = choose_strength(vectors, given, rows.task, labels, seed)
    first = ranked(doubt(rows, vectors, given, labels, strength, seed))[: len(rows) // 10]
    return round(float(numpy.isin(flipped, first).mean()), 4)


if __name__ == "__main__":
    main()
