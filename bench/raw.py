"""The ceiling: ONNX Runtime alone on one thread, tokenizing included, batches of 32. A process of its own.

`python -m bench.raw BUNDLE VARIANT TEXTS ORDER` with ORDER arrival or sorted prints one JSON object.
"""

import json
import sys
import time
from pathlib import Path

import numpy as np
import onnxruntime
from tokenizers import Tokenizer

from bench.texts import read_texts
from bertwire_export.bundle import open_bundle

BATCH = 32


def measure(bundle_path: Path, variant_name: str, texts: list[str], order: str) -> dict[str, float]:
    """CPU-milliseconds a text, and the share of computed tokens that are padding; one batch before it warms up."""
    bundle = open_bundle(bundle_path)
    manifest = bundle.manifest
    variant = next(each for each in manifest.variants if each.name == variant_name)
    tokenizer = Tokenizer.from_buffer(bundle.read(manifest.tokenizer))
    tokenizer.enable_truncation(manifest.max_length, direction=manifest.truncation_side)
    tokenizer.enable_padding(pad_id=manifest.pad_token_id)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(bundle.read(variant.file), options, providers=["CPUExecutionProvider"])
    if order == "sorted":
        # Sorting is what a server cannot do; it is not counted, tokenizing is.
        texts = sorted(texts, key=lambda text: len(tokenizer.encode(text)))
    real = computed = 0

    def run(batch: list[str]) -> None:
        nonlocal real, computed
        encodings = tokenizer.encode_batch(batch)
        mask = np.array([each.attention_mask for each in encodings])
        arrays = {
            "input_ids": np.array([each.ids for each in encodings]),
            "attention_mask": mask,
            "token_type_ids": np.array([each.type_ids for each in encodings]),
        }
        session.run(["logits"], {name: arrays[name] for name in variant.inputs})
        real, computed = real + int(mask.sum()), computed + mask.size

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
