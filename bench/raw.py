"""The ceiling: ONNX Runtime alone on one thread, tokenizing included, batches of 32. A process of its own.

`python -m bench.raw BUNDLE VARIANT TEXTS ORDER` with VARIANT a name or a precision, as for `bertwire serve`, and ORDER
arrival or sorted prints one JSON object.
"""

import json
import sys
import time
from pathlib import Path

import onnxruntime
from tokenizers import Tokenizer

from bench.texts import read_texts
from bertwire_export.bundle import open_bundle
from bertwire_export.bundle.layouts import arrange, variant_layout

BATCH = 32


def measure(bundle_path: Path, variant_name: str, texts: list[str], order: str) -> dict[str, float]:
    """CPU-milliseconds a text, and the share of tokens in linear layers that are padding; one batch warms up before."""
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

    run(texts[:BATCH])
    real = computed = 0
    start = time.process_time()
    for first in range(0, len(texts), BATCH):
        run(texts[first : first + BATCH])
    return {"cpu_ms_per_text": 1e3 * (time.process_time() - start) / len(texts), "padding": 1 - real / computed}


if __name__ == "__main__":
    bundle_argument, variant_argument, texts_argument, order_argument = sys.argv[1:]
    result = measure(Path(bundle_argument), variant_argument, read_texts(Path(texts_argument)), order_argument)
    print(json.dumps(result))
