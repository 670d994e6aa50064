"""The ceiling: ONNX Runtime alone on one thread, tokenizing included. A process of its own.

`python -m bench.raw BUNDLE VARIANT TEXTS ORDER BATCH MOST` with VARIANT a name or a precision, as for `bertwire serve`,
ORDER arrival or sorted, BATCH texts in each run and the first MOST texts prints one JSON object.
"""

import json
import sys
import time
from pathlib import Path

import numpy as np
import onnxruntime
from tokenizers import Tokenizer

from bench.figures import Figures, percentiles
from bench.texts import read_texts
from bertwire_runtime.bundle import open_bundle
from bertwire_runtime.layouts import arrange, variant_layout

BATCH = 32
_WARM_BATCHES = 4


def measure(bundle_path: Path, variant_name: str, texts: list[str], order: str, size: int) -> Figures:
    """CPU-milliseconds a text, a run's time, and the share of tokens in linear layers that are padding.

    Some batches warm up before: without them the first runs of single texts would count among few.
    """
    bundle = open_bundle(bundle_path)
    manifest = bundle.manifest
    variant = next(
        each for each in manifest.variants if variant_name in (each.name, each.precision) and "cpu" in each.providers
    )
    layout = variant_layout(manifest, variant)
    tokenizer = Tokenizer.from_buffer(bundle.read(manifest.tokenizer))
    tokenizer.enable_truncation(manifest.max_length, direction=manifest.truncation_side)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(bundle.read(variant.file), options, providers=["CPUExecutionProvider"])
    inputs = [each.name for each in session.get_inputs()]
    if order == "sorted":
        # Sorting is what a server cannot do; it is not counted, tokenizing is.
        texts = sorted(texts, key=lambda text: len(tokenizer.encode(text)))
    real = computed = 0

    def run(batch: list[str]) -> None:
        nonlocal real, computed
        encodings = tokenizer.encode_batch(batch)
        arrays = arrange(encodings, layout)
        session.run(["logits"], {name: arrays[name] for name in inputs})
        lengths = [len(encoding.ids) for encoding in encodings]
        real, computed = real + sum(lengths), computed + layout.computed(len(lengths), max(lengths), sum(lengths))

    batches = [texts[first : first + size] for first in range(0, len(texts), size)]
    for batch in batches[:_WARM_BATCHES]:
        run(batch)
    real = computed = 0
    seconds = []
    cpu = time.process_time()
    for batch in batches:
        start = time.perf_counter()
        run(batch)
        seconds.append(time.perf_counter() - start)
    cpu_ms = 1e3 * (time.process_time() - cpu) / len(texts)
    return {"cpu_ms_per_text": cpu_ms, "padding": 1 - real / computed} | percentiles(np.array(seconds))


if __name__ == "__main__":
    bundle_argument, variant_argument, texts_argument, order_argument, size_argument, most_argument = sys.argv[1:]
    chosen = read_texts(Path(texts_argument))[: int(most_argument)]
    result = measure(Path(bundle_argument), variant_argument, chosen, order_argument, int(size_argument))
    print(json.dumps({"figures": result, "timeline": None}))
