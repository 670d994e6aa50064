"""No integer product that is published saturates on a processor without VNNI; what others would is told."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hypothesis_numpy
from numpy.typing import NDArray
from onnx import TensorProto, numpy_helper

from bertwire_export.convert import convert, fuse
from bertwire_export.int8 import quantize_weight
from bertwire_export.packed.build import build_packed
from bertwire_export.packed.graph import CONTRIB, Graph
from bertwire_export.packed.linear import Int8Linears
from bertwire_export.packed.ranges import measure_ranges
from bertwire_export.packed.weights import read_encoder
from bertwire_export.quantize import quantize_padded
from bertwire_runtime.bundle.saturation import IntegerProducts, can_saturate, integer_products
from bertwire_runtime.layouts import Layout, arrange
from graphs import random_batch, tiny_model
from support import bertwire, rehash

Integers = NDArray[np.integer]
# Kinds of graphs, and a layer of each by its name there.
GRAPHS = {
    "packed": "layer.1.down",
    "padded": "/bert/encoder/layer.1/output/dense/MatMul",
}


def product_without_vnni(numbers: Integers, weight: Integers) -> Integers:
    """What ONNX Runtime's AVX2 kernels compute: products of rows 0 and 1, 2 and 3 and so on are added in 16 bits."""
    terms = numbers[:, :, None].astype(int) * weight[None].astype(int)
    terms = np.pad(terms, ((0, 0), (0, terms.shape[1] % 2), (0, 0)))
    sums: Integers = np.clip(terms[:, ::2] + terms[:, 1::2], -(2**15), 2**15 - 1).sum(axis=1)
    return sums


def saturates(weight: Integers) -> bool:
    """Whether a product saturates for the worst inputs: of one column after the other all rows of one sign at 255."""
    numbers = 255 * np.concatenate([weight.T > 0, weight.T < 0])
    return bool((product_without_vnni(numbers, weight) != numbers @ weight.astype(int)).any())


def weights(path: Path) -> dict[str, Integers]:
    """The int8 matrices of a graph."""
    tensors = onnx.load(path).graph.initializer
    return {
        each.name: numpy_helper.to_array(each)
        for each in tensors
        if each.data_type == TensorProto.INT8 and len(each.dims) == 2
    }


def write(kind: str, path: Path) -> None:
    """Writes an int8 graph of a tiny model in whose weights large numbers of one sign follow each other."""
    model, texts = tiny_model("bert"), random_batch([3, 31, 17], seed=7)
    for layer in model.base_model.encoder.layer:  # type: ignore[union-attr]
        layer.output.dense.weight.data[0] = 1
        layer.attention.self.query.weight.data[1] = -1
    if kind == "padded":
        convert(model, path.with_suffix(".unfused"))
        fuse(path.with_suffix(".unfused"), model, path.with_suffix(".fp32"), attention=False)
        quantize_padded(
            path.with_suffix(".fp32"), (arrange([text], Layout("padded", 0, 0, False)) for text in texts), path
        )
    else:
        encoder = read_encoder(model)
        ranges = measure_ranges(encoder, 1, [arrange(texts, Layout("packed", 1, 0, False))])
        onnx.save(build_packed(encoder, Int8Linears(ranges), 2), path)


@pytest.mark.parametrize("kind", GRAPHS)
def test_no_product_saturates(tmp_path: Path, kind: str) -> None:
    """The 8-bit products of every layer are the exact ones for the worst inputs too."""
    write(kind, tmp_path / "int8.onnx")
    found = weights(tmp_path / "int8.onnx")
    assert len(found) == 12
    assert [name for name, weight in found.items() if saturates(weight)] == []
    products = integer_products((tmp_path / "int8.onnx").read_bytes())
    assert (products.count, products.saturating) == (12, ())


def enlarge(path: Path, named: str) -> None:
    """Puts the weight of one layer on 8 bits, as graphs had them before."""
    model = onnx.load(path)
    (node,) = (
        each for each in model.graph.node if named in (each.name, *(name.split(".weight")[0] for name in each.input))
    )
    (tensor,) = (each for each in model.graph.initializer if each.name == node.input[1])
    tensor.raw_data = np.clip(2 * numpy_helper.to_array(tensor).astype(int), -127, 127).astype(np.int8).tobytes()
    assert saturates(numpy_helper.to_array(tensor))
    onnx.save(model, path)


@pytest.mark.parametrize(("kind", "layer"), list(GRAPHS.items()))
def test_saturating_product_is_named(tmp_path: Path, kind: str, layer: str) -> None:
    """The one layer that can saturate is named, in packed graphs and in padded ones."""
    path = tmp_path / "int8.onnx"
    write(kind, path)
    enlarge(path, layer)
    assert integer_products(path.read_bytes()) == IntegerProducts(12, (layer,))


def test_inspect_and_report_say_it(bundle: Path, tmp_path: Path) -> None:
    """Of a new bundle that it is exact everywhere, of an old one where it is not, for people and for programs."""
    exact = "none of 12 integer products can saturate: exact on every processor"
    assert exact in bundle.with_name(f"{bundle.name}.report.html").read_text(encoding="utf-8")
    old = Path(shutil.copytree(bundle, tmp_path / "old"))
    enlarge(old / "int8-packed.onnx", "layer.1.up")
    rehash(old)
    some = "1 of 12 integer products can saturate on x86 without VNNI: layer.1.up"
    wide = os.environ | {"COLUMNS": "200"}
    for folder, said in ((bundle, exact), (old, some)):
        done = subprocess.run(bertwire("inspect", folder), capture_output=True, text=True, check=True, env=wide)
        assert f"int8 of int8-packed {said}" in " ".join(done.stdout.replace("│", " ").split())
    done = subprocess.run(bertwire("inspect", old, "--json"), capture_output=True, text=True, check=True)
    products = json.loads(done.stdout)["integer_products"]
    assert products == {"int8-packed": {"count": 12, "saturating": ["layer.1.up"], "unread": 0}}


def test_file_that_is_no_graph(bundle: Path, tmp_path: Path) -> None:
    """A sealed bundle whose int8 file is something else is refused in one line."""
    copy = Path(shutil.copytree(bundle, tmp_path / "copy"))
    (copy / "int8-packed.onnx").write_bytes(b"text")
    rehash(copy)
    done = subprocess.run(bertwire("inspect", copy), capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.splitlines() == [f"bertwire: error: {copy}: int8-packed.onnx is no ONNX graph; export it again"]


RUN = """
import sys, numpy, onnxruntime
graph, numbers, products = sys.argv[1:]
session = onnxruntime.InferenceSession(graph, providers=["CPUExecutionProvider"])
numpy.save(products, session.run(None, {"numbers": numpy.load(numbers)})[0])
"""


EMULATOR = shutil.which("qemu-x86_64")


@pytest.mark.skipif(EMULATOR is None, reason="qemu-user is not installed")
def test_kernels_without_vnni_are_what_is_emulated(tmp_path: Path) -> None:
    """ONNX Runtime on a processor with AVX2 alone adds in pairs as here, and what is published is exact there."""
    generator = np.random.default_rng(0)
    large = generator.integers(-127, 128, (33, 20)).astype(np.int8)
    published, _ = quantize_weight(generator.standard_normal((33, 20)).astype(np.float32))
    weight = np.concatenate([large, published], axis=1)
    numbers = np.concatenate([255 * (weight.T > 0), 255 * (weight.T < 0), generator.integers(0, 256, (9, 33))])
    graph = Graph()
    scales = graph.constant(np.float32(1)), graph.constant(np.ones(40, np.float32))
    inputs = graph.input("numbers", TensorProto.UINT8, ["texts", 33]), graph.constant(weight), *scales
    output = graph.add("MatMulIntegerToFloat", *inputs, domain=CONTRIB)
    onnx.save(graph.model({"logits": (output, ["texts", 40])}), tmp_path / "graph.onnx")
    np.save(tmp_path / "numbers.npy", numbers.astype(np.uint8))
    files = [tmp_path / name for name in ("graph.onnx", "numbers.npy", "products.npy")]
    subprocess.run([str(EMULATOR), "-cpu", "Haswell", sys.executable, "-c", RUN, *files], check=True)
    found = np.load(files[-1])
    np.testing.assert_array_equal(found, product_without_vnni(numbers, weight))
    exact = numbers @ weight.astype(int)
    assert (found[:, :20] != exact[:, :20]).any()
    np.testing.assert_array_equal(found[:, 20:], exact[:, 20:])


NUMBERS = st.integers(-128, 127) | st.sampled_from([-65, -64, -63, 63, 64, 65])


@given(hypothesis_numpy.arrays(np.int8, st.tuples(st.integers(1, 5), st.integers(1, 3)), elements=NUMBERS))
def test_rule_is_exact(weight: NDArray[np.int8]) -> None:
    """A weight can saturate by the rule exactly where the worst inputs do, an odd last row included."""
    assert can_saturate(weight.tobytes(), weight.shape[1]) == saturates(weight)


def test_weights_that_are_not_found_are_told(tmp_path: Path) -> None:
    """A weight that is written otherwise may be anything: nobody says that its product is exact."""
    write("packed", tmp_path / "int8.onnx")
    model = onnx.load(tmp_path / "int8.onnx")
    tensor = next(
        each for each in model.graph.initializer if each.data_type == TensorProto.INT8 and len(each.dims) == 2
    )
    tensor.int32_data.extend(numpy_helper.to_array(tensor).astype(int).ravel().tolist())
    tensor.ClearField("raw_data")
    products = integer_products(model.SerializeToString())
    assert (products.count, products.unread) == (12, 1)
    assert str(products).startswith("whether 1 of 12 integer products can saturate")
