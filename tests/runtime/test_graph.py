"""A bundle's graph holds all of its weights: nothing of it comes from another file."""

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import onnx
import onnxruntime
import pytest
from onnx import GraphProto, ModelProto, SparseTensorProto, TensorProto, helper

from bertwire_runtime.bundle import BundleError, open_bundle
from bertwire_runtime.bundle.graph import require_self_contained
from bertwire_runtime.engine import choose_engine
from support import bertwire, rehash

FAULT = "keeps weights in another file, which a bundle's graph may not"


def external(location: str) -> TensorProto:
    """A float32 [4] tensor whose values lie in the file `location`."""
    tensor = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[4], data_location=TensorProto.EXTERNAL)
    tensor.external_data.add(key="location", value=location)
    return tensor


def graph(*nodes: onnx.NodeProto, weights: tuple[TensorProto, ...] = ()) -> GraphProto:
    """A graph without inputs around some nodes."""
    return helper.make_graph(nodes, "graph", [], [], weights)


def model(content: GraphProto) -> ModelProto:
    """A model of a graph."""
    return helper.make_model(content)


def initializer(tensor: TensorProto) -> ModelProto:
    """The tensor as a weight."""
    return model(graph(weights=(tensor,)))


def constant(tensor: TensorProto) -> ModelProto:
    """The tensor as an attribute of a node."""
    return model(graph(helper.make_node("Constant", [], ["y"], value=tensor)))


def listed(tensor: TensorProto) -> ModelProto:
    """The tensor in a list of tensors."""
    return model(graph(helper.make_node("Any", [], ["y"], values=[tensor])))


def subgraph(tensor: TensorProto) -> ModelProto:
    """The tensor as a weight of a graph within a node within a graph within a node."""
    inner = helper.make_node("Loop", ["n"], ["y"], body=graph(weights=(tensor,)))
    return model(graph(helper.make_node("If", ["c"], ["y"], then_branch=graph(inner))))


def function(tensor: TensorProto) -> ModelProto:
    """The tensor within a function of the model's own."""
    node = helper.make_node("Constant", [], ["y"], value=tensor)
    made = helper.make_function("own", "F", [], ["y"], [node], [helper.make_opsetid("", 17)])
    return helper.make_model(graph(), functions=[made])


def sparse(tensor: TensorProto) -> ModelProto:
    """The tensor as the values of a sparse weight."""
    content = graph()
    content.sparse_initializer.append(SparseTensorProto(values=tensor, dims=[4]))
    return model(content)


def training(tensor: TensorProto) -> ModelProto:
    """The tensor in what a model may hold for its training."""
    made = model(graph())
    made.training_info.add().algorithm.CopyFrom(graph(weights=(tensor,)))
    return made


@pytest.mark.parametrize("place", [initializer, constant, listed, subgraph, function, sparse, training])
@pytest.mark.parametrize("location", ["../x", "/etc/hostname", "tokenizer.json", ""])
def test_refuses_external_data(place: Callable[[TensorProto], ModelProto], location: str) -> None:
    """A tensor in another file is found wherever a model can hold one, be it unused and the file beside it."""
    with pytest.raises(ValueError, match=FAULT):
        require_self_contained(place(external(location)).SerializeToString())
    inside = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[4], raw_data=bytes(16))
    require_self_contained(place(inside).SerializeToString())


def test_refuses_external_data_without_location() -> None:
    """Either of the two marks of an external tensor is enough."""
    bare = TensorProto(name="w", data_location=TensorProto.EXTERNAL)
    unmarked = external("x")
    unmarked.ClearField("data_location")
    for tensor in (bare, unmarked):
        with pytest.raises(ValueError, match=FAULT):
            require_self_contained(initializer(tensor).SerializeToString())


def test_refuses_field_number_that_others_cut() -> None:
    """A field number too long for protobuf cannot hide a field from the one reader and show it to the other."""
    hidden = b"\xf0\x80\x80\x80\x10\x01"  # field 14 in the lower 32 bits
    tensor = b"\x2a" + bytes([len(hidden)]) + hidden
    with pytest.raises(ValueError, match="no ONNX model"):
        require_self_contained(b"\x3a" + bytes([len(tensor)]) + tensor)


def test_real_graphs_pass_and_pieces_do_not(bundle: Path) -> None:
    """What export writes is self-contained; cut anywhere it is refused as what it is, or is whole up to there."""
    for name in ("fp32-packed.onnx", "int8-packed.onnx"):
        require_self_contained((bundle / name).read_bytes())
    content = (bundle / "int8-packed.onnx").read_bytes()
    refused = 0
    for end in range(1, len(content), 97):
        try:
            require_self_contained(content[:end])
        except ValueError as error:
            assert str(error) == "is no ONNX model"  # noqa: PT017 - not every piece must raise
            refused += 1
    assert refused > 0.9 * len(range(1, len(content), 97))


@pytest.mark.parametrize("location", ["../outside", "tokenizer.json"])
def test_server_refuses_external_data(bundle: Path, tmp_path: Path, location: str) -> None:
    """A consistently resealed bundle whose graph names another file, within the bundle or not, is not served."""
    copy = Path(shutil.copytree(bundle, tmp_path / "copy"))
    changed = onnx.load(copy / "fp32-packed.onnx")
    moved = changed.graph.initializer[0]
    (tmp_path / "outside").write_bytes(moved.raw_data)
    moved.ClearField("raw_data")
    moved.data_location = TensorProto.EXTERNAL
    moved.external_data.add(key="location", value=location)
    (copy / "fp32-packed.onnx").write_bytes(changed.SerializeToString())
    rehash(copy)
    command = bertwire("serve", copy, "--variant", "fp32", "--port", 0)
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == f"bertwire: error: {copy}: fp32-packed.onnx {FAULT}; export it again\n"


def test_refuses_another_format(bundle: Path, tmp_path: Path) -> None:
    """ONNX Runtime's own format, in which nothing was looked for, is not loaded."""
    copy = Path(shutil.copytree(bundle, tmp_path / "copy"))
    options = onnxruntime.SessionOptions()
    options.optimized_model_filepath = str(tmp_path / "fp32.ort")
    options.add_session_config_entry("session.save_model_format", "ORT")
    options.log_severity_level = 4
    onnxruntime.InferenceSession(
        (bundle / "fp32-packed.onnx").read_bytes(), options, providers=["CPUExecutionProvider"]
    )
    shutil.move(tmp_path / "fp32.ort", copy / "fp32-packed.onnx")
    rehash(copy)
    with pytest.raises(BundleError, match=r"fp32-packed\.onnx is no ONNX model"):
        choose_engine(open_bundle(copy), "fp32", "cpu", 1)
