"""ONNX Runtime alone on one thread, tokenizing included; a process of its own.

`python -m bench.raw BUNDLE VARIANT TEXTS BATCH MOST` runs the first MOST texts in order of arrival, BATCH in each run,
and prints one JSON object. VARIANT is a name or a precision, as for `bertwire serve`.
"""

import json
import sys
import time
from pathlib import Path

import numpy as np

from bench.figures import Figures, percentiles
from bench.texts import read_texts
from bertwire_runtime.bundle import open_bundle
from bertwire_runtime.predictor import Predictor

# Texts of a run, as many as the server's batches have; at half of them a text costs more than in the server.
BATCH = 32
# Runs before the measurement; at half of them slow first runs still count where a run is one text.
_WARM_RUNS = 4


def measure(predictor: Predictor, texts: list[str], size: int) -> Figures:
    """Return CPU-milliseconds a text, texts a second and percentiles of a run's milliseconds."""
    batches = [texts[first : first + size] for first in range(0, len(texts), size)]
    for batch in batches[:_WARM_RUNS]:
        predictor.logits(predictor.encode(batch))
    seconds = []
    cpu = time.process_time()
    for batch in batches:
        start = time.perf_counter()
        predictor.logits(predictor.encode(batch))
        seconds.append(time.perf_counter() - start)
    cpu_ms = 1e3 * (time.process_time() - cpu)
    figures = {"cpu_ms_per_text": cpu_ms / len(texts), "texts_per_second": len(texts) / sum(seconds)}
    return figures | percentiles(np.array(seconds))


def _main(bundle: str, variant: str, texts: str, size: str, most: str) -> None:
    predictor = Predictor(open_bundle(Path(bundle)), variant, "cpu", threads=1)
    figures = measure(predictor, read_texts(Path(texts))[: int(most)], int(size))
    print(json.dumps({"figures": figures, "timeline": None}))


if __name__ == "__main__":
    _main(*sys.argv[1:])
