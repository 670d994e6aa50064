"""Hand-made bundles whose logits are known: those of a text are the sums of its tokens' rows of a table."""

import hashlib
import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from support import LABELS, SPECIAL, WORDS, reseal

VOCABULARY = [*SPECIAL, *WORDS]
_TEXTS = ["batch", "tokens"]


def table(seed: int = 0, labels: int = 3) -> NDArray[np.float32]:
    """Weights of every token for every label, in sixteenths, which float32 adds without rounding."""
    generator = np.random.default_rng(seed)
    return (generator.integers(-32, 33, (len(VOCABULARY), labels)) / 16).astype(np.float32)


def logits(weights: NDArray[np.float32], *words: str) -> NDArray[np.float32]:
    """The logits of a text of these words, float32 [labels]."""
    total: NDArray[np.float32] = weights[[VOCABULARY.index(each) for each in ("[CLS]", *words, "[SEP]")]].sum(axis=0)
    return total


def make_bag(
    bundle: Path,
    folder: Path,
    weights: NDArray[np.float32],
    *,
    rules: Sequence[dict[str, Any]] | bytes = (),
    **fields: Any,  # noqa: ANN401 - any of the manifest's
) -> Path:
    """Makes a bundle of the tiny one: another graph, its probe, rules, and other fields of the manifest."""
    shutil.copytree(bundle, folder)
    for name in ("int8-packed.onnx", "fp32-packed.onnx"):
        (folder / name).unlink()
    (folder / "fp32-padded.onnx").write_bytes(_graph(weights))
    (folder / "probe.json").write_text(json.dumps(_probe(weights)))
    if rules:
        content = rules if isinstance(rules, bytes) else json.dumps(rules).encode()
        (folder / "rules.json").write_bytes(content)

    def edit(manifest: dict[str, Any]) -> None:
        variant = next(each for each in manifest["variants"] if each["precision"] == "fp32")
        variant |= {"name": "fp32-padded", "layout": "padded", "groups": 0, "file": _entry(folder / "fp32-padded.onnx")}
        for proof in variant["proofs"]:
            proof["batch_variance"] = 0.0
        manifest |= {"variants": [variant], "candidates": [], "probe": _entry(folder / "probe.json")}
        manifest["calibration"]["temperature"] = 1.0
        manifest["labels"] = LABELS[: weights.shape[1]]
        if rules:
            names = [each["name"] for each in rules] if not isinstance(rules, bytes) else ["r"]
            effect = {"matched": [0] * len(names), "changed": 0, "scores": {}}
            manifest["rules"] = {
                "file": _entry(folder / "rules.json"),
                "names": names,
                "dev": effect,
                "test": None,
            }
        manifest |= fields

    reseal(folder, edit)
    return folder


def _entry(path: Path) -> dict[str, Any]:
    content = path.read_bytes()
    return {"name": path.name, "bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}


def _graph(weights: NDArray[np.float32]) -> bytes:
    nodes = [
        helper.make_node("Gather", ["table", "input_ids"], ["rows"]),
        helper.make_node("Cast", ["attention_mask"], ["mask"], to=TensorProto.FLOAT),
        helper.make_node("Unsqueeze", ["mask", "last"], ["column"]),
        helper.make_node("Mul", ["rows", "column"], ["read"]),
        helper.make_node("ReduceSum", ["read", "tokens_axis"], ["logits"], keepdims=0),
    ]
    graph = helper.make_graph(
        nodes,
        "bag",
        [helper.make_tensor_value_info(each, TensorProto.INT64, _TEXTS) for each in ("input_ids", "attention_mask")],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", weights.shape[1]])],
        [
            numpy_helper.from_array(weights, "table"),
            numpy_helper.from_array(np.array([-1]), "last"),
            numpy_helper.from_array(np.array([1]), "tokens_axis"),
        ],
    )
    model = onnx.helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    return bytes(model.SerializeToString())


def _probe(weights: NDArray[np.float32]) -> dict[str, Any]:
    ids = [[2, 5 + number, 6 + number, 3] for number in range(8)]
    expected = {
        "variant": "fp32-padded",
        "provider": "cpu",
        "tolerances": [1e-4] * len(ids),
        "logits": [weights[each].sum(axis=0).tolist() for each in ids],
    }
    return {"sequences": [{"ids": each, "type_ids": [0] * len(each)} for each in ids], "expected": [expected]}
