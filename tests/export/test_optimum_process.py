"""The process that Optimum runs in, with a stand-in for Optimum: what it may see, and how it ends."""

import json
import stat
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import onnx
import psutil
import pytest

from bertwire_core.errors import UserError
from bertwire_core.tasks import Task
from bertwire_export.config import ExportConfig
from bertwire_export.optimum import convert_with_optimum
from bertwire_export.pipeline import run

ROOT = Path(__file__).resolve().parents[2]
INPUTS = ["input_ids", "attention_mask", "token_type_ids"]

StandIn = Callable[[str], Path]


@pytest.fixture
def stand_in(tmp_path: Path) -> StandIn:
    """Makes an interpreter that runs the given Python in place of the worker, with its arguments as `source`, ...."""

    def make(body: str) -> Path:
        path = tmp_path / "python"
        lines = [
            f"#!{sys.executable}",
            "import json, os, shutil, signal, sys",
            "from pathlib import Path",
            "source, output = map(Path, sys.argv[3:5])",
            f"here = Path({str(tmp_path)!r})",
            body,
        ]
        path.write_text("\n".join(lines) + "\n")
        path.chmod(path.stat().st_mode | stat.S_IXUSR)
        return path

    return make


def write_graph(path: Path, inputs: list[str], output: str = "logits") -> None:
    """Writes a graph that adds its inputs."""
    values = [onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [1]) for name in [*inputs, output]]
    nodes = [onnx.helper.make_node("Sum", inputs, [output])]
    onnx.save(onnx.helper.make_model(onnx.helper.make_graph(nodes, "graph", values[:-1], values[-1:])), path)


GIVE_GRAPH = "output.mkdir(); shutil.copy(here / 'given.onnx', output / 'model.onnx')"
RECORD = (
    "seen = {'files': sorted(path.name for path in source.iterdir()), 'arguments': sys.argv[1:],"
    " 'config': json.loads((source / 'config.json').read_text()), 'environment': dict(os.environ),"
    " 'weights': (source / 'model.safetensors').stat().st_size, 'folder': os.getcwd()}\n"
    "(here / 'seen.json').write_text(json.dumps(seen))\n" + GIVE_GRAPH
)


def record(checkpoint: Path, stand_in: StandIn, tmp_path: Path, task: Task = "single_label") -> dict[str, Any]:
    """Converts with a stand-in and returns what it saw."""
    write_graph(tmp_path / "given.onnx", INPUTS)
    convert_with_optimum(checkpoint, task, INPUTS, tmp_path / "out.onnx", stand_in(RECORD))
    assert (tmp_path / "out.onnx").read_bytes() == (tmp_path / "given.onnx").read_bytes()
    seen: dict[str, Any] = json.loads((tmp_path / "seen.json").read_text())
    return seen


def test_worker_sees_weights_and_plain_config_only(checkpoint_copy: Path, stand_in: StandIn, tmp_path: Path) -> None:
    """Fields that run code, unknown ones and nested values stay behind, as do all files but weights and config."""
    config = json.loads((checkpoint_copy / "config.json").read_text())
    dangerous = {
        "_attn_implementation_internal": "someone/kernel",
        "_attn_implementation": "someone/kernel",
        "attn_implementation": "someone/kernel",
        "auto_map": {"AutoModel": "code.Model"},
        "custom_pipelines": {"mine": {"impl": "code.Pipeline"}},
        "quantization_config": {"quant_method": "mine"},
        "hidden_act": {"deep": {"deeper": 1}},
        "unheard_of": 1,
    }
    (checkpoint_copy / "config.json").write_text(json.dumps(config | dangerous))
    (checkpoint_copy / "code.py").write_text("raise SystemExit")
    seen = record(checkpoint_copy, stand_in, tmp_path)
    assert seen["files"] == ["config.json", "model.safetensors"]
    assert seen["weights"] == (checkpoint_copy / "model.safetensors").stat().st_size
    assert not set(dangerous) & set(seen["config"])
    kept = ("model_type", "hidden_size", "num_attention_heads", "layer_norm_eps", "id2label")
    assert {name: seen["config"][name] for name in kept} == {name: config[name] for name in kept}


def test_worker_gets_no_secrets(
    checkpoint: Path, stand_in: StandIn, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Tokens, proxies and Python's variables of our environment do not reach it; it is told to stay offline."""
    for name in ("HF_TOKEN", "HF_HOME", "AWS_SECRET_ACCESS_KEY", "https_proxy", "PYTHONSTARTUP", "HOME"):
        monkeypatch.setenv(name, f"/secret/{name}")
    seen = record(checkpoint, stand_in, tmp_path)
    assert "/secret/" not in json.dumps(seen["environment"])
    assert (seen["environment"]["HF_HUB_OFFLINE"], seen["environment"]["TRANSFORMERS_OFFLINE"]) == ("1", "1")
    assert seen["environment"]["HOME"] == seen["folder"]
    assert seen["arguments"][0] == "-I"
    assert not Path(seen["folder"]).exists()


@pytest.mark.parametrize(
    ("task", "expected"),
    [
        ("single_label", "text-classification"),
        ("multi_label", "text-classification"),
        ("regression", "text-classification"),
        ("token_classification", "token-classification"),
    ],
)
def test_task_by_optimums_name(checkpoint: Path, stand_in: StandIn, tmp_path: Path, task: Task, expected: str) -> None:
    """Every task of ours is one of two kinds of graph."""
    assert record(checkpoint, stand_in, tmp_path, task)["arguments"][4:] == [expected, "17"]


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (
            "sys.exit('Traceback:\\n  line 1\\nValueError: the model is odd\\n\\n')",
            "checkpoint: ValueError: the model",
        ),
        ("sys.exit(3)", "checkpoint: exit status 3"),
        ("os.kill(os.getpid(), signal.SIGKILL)", "checkpoint: exit status -9"),
        ("sys.exit('x' * 100_000)", f"checkpoint: {'x' * 300}; --converter torch"),
        ("pass", "checkpoint: it wrote no graph"),
        (GIVE_GRAPH, "its graph reads input_ids, where input_ids, attention_mask, token_type_ids are needed"),
    ],
)
def test_failure_is_one_line(checkpoint: Path, stand_in: StandIn, tmp_path: Path, body: str, reason: str) -> None:
    """Whatever goes wrong in the worker is told in one line, and no output is left."""
    write_graph(tmp_path / "given.onnx", INPUTS[:1])
    with pytest.raises(UserError) as caught:
        convert_with_optimum(checkpoint, "single_label", INPUTS, tmp_path / "out.onnx", stand_in(body))
    assert reason in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "out.onnx").exists()


def test_hanging_worker_is_ended(checkpoint: Path, stand_in: StandIn, tmp_path: Path) -> None:
    """A worker that never ends is killed when its time is up."""
    python = stand_in("signal.pause()")
    before = set(psutil.Process().children())
    with pytest.raises(UserError, match=r"did not end within 0\.2 seconds"):
        convert_with_optimum(checkpoint, "single_label", INPUTS, tmp_path / "out.onnx", python, limit_seconds=0.2)
    assert set(psutil.Process().children()) == before


def test_missing_environment_is_named_first(tmp_path: Path) -> None:
    """Without the environment the export stops before it loads anything, and says how to make it."""
    config = ExportConfig(
        checkpoint=tmp_path / "none", output=tmp_path / "out", converter="optimum", optimum_python=tmp_path / "python"
    )
    with pytest.raises(UserError, match=r"python is missing: .*make optimum.*--optimum-python"):
        run(config)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("nonsense", "is not JSON"),
        ("[]", "not None; use --converter torch"),
        ('{"model_type": "modernbert"}', "not modernbert; use --converter torch"),
        ('{"model_type": ["bert"]}', r"not \['bert'\]; use --converter torch"),
    ],
)
def test_refuses_unknown_model(
    checkpoint_copy: Path, stand_in: StandIn, tmp_path: Path, content: str, reason: str
) -> None:
    """A model whose fields are not known is not passed on with half of them."""
    (checkpoint_copy / "config.json").write_text(content)
    with pytest.raises(UserError, match=reason):
        convert_with_optimum(checkpoint_copy, "single_label", INPUTS, tmp_path / "out.onnx", stand_in("pass"))


def test_environment_cannot_fetch_kernels() -> None:
    """The package through which the pinned transformers would fetch and run kernels is not in the environment."""
    names = {line.split("==")[0] for line in (ROOT / "requirements" / "optimum.txt").read_text().splitlines()}
    assert {"optimum-onnx", "transformers"} <= names
    assert "kernels" not in names
