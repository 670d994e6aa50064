"""The engine's parts that need no server."""

from pathlib import Path

import numpy as np
import onnxruntime

from bertwire_export.bundle import open_bundle
from bertwire_export.bundle.engine import run_bound
from bertwire_export.bundle.layouts import packed
from bertwire_server.model.tokenizer import Encoded


def test_bound_run_equals_plain_run(bundle: Path) -> None:
    """Bound inputs and outputs give the logits of a plain run, for batches of changing shape, empty groups too."""
    variant = next(each for each in open_bundle(bundle).manifest.variants if each.precision == "fp32")
    session = onnxruntime.InferenceSession(bundle / variant.file.name, providers=["CPUExecutionProvider"])
    for lengths in ([3], [9, 30, 4, 17, 5, 6, 7, 8], [12, 12]):
        texts = [Encoded([2, *[7] * (length - 2), 3], [0] * length, truncated=False) for length in lengths]
        arrays = packed(texts, variant.groups)
        feeds = {each.name: arrays[each.name] for each in session.get_inputs()}
        np.testing.assert_array_equal(run_bound(session, feeds), session.run(["logits"], feeds)[0])
