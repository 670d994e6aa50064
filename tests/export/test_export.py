"""Export end to end on a tiny checkpoint: what is built, what is proven, what is refused."""

import json
import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest

from bertwire_client.errors import UserError
from bertwire_export.bundle import open_bundle
from bertwire_export.config import ExportConfig
from bertwire_export.pipeline import Outcome, run


@pytest.fixture
def copy(checkpoint: Path, tmp_path: Path) -> Path:
    """A copy of the checkpoint, to be damaged."""
    return Path(shutil.copytree(checkpoint, tmp_path / "checkpoint"))


def export(checkpoint: Path, output: Path, **options: Any) -> Outcome:  # noqa: ANN401 - any option of the command
    """Exports with limits that random weights keep, unless told otherwise."""
    config = ExportConfig(
        **({"int8_min_agreement": 0, "int8_max_drop": 1} | options), checkpoint=checkpoint, output=output
    )
    return run(config)


def operators(path: Path) -> Counter[str]:
    """How many nodes of each operator the graph holds that a session really runs."""
    session_options = onnxruntime.SessionOptions()
    optimized = path.with_suffix(".optimized")
    session_options.optimized_model_filepath = str(optimized)
    session_options.log_severity_level = 3
    onnxruntime.InferenceSession(path.read_bytes(), session_options, providers=["CPUExecutionProvider"])
    return Counter(node.op_type for node in onnx.load(optimized).graph.node)


def test_fp32_graph_is_fused(bundle: Path, tmp_path: Path) -> None:
    """Each of the 2 layers is one attention, two skip layer norms and one GELU, in the session too."""
    found = operators(Path(shutil.copy(bundle / "fp32.onnx", tmp_path)))
    assert {name: found[name] for name in ("EmbedLayerNormalization", "Attention", "BiasGelu", "Softmax")} == {
        "EmbedLayerNormalization": 1,
        "Attention": 2,
        "BiasGelu": 2,
        "Softmax": 0,
    }
    assert found["SkipLayerNormalization"] == 4


def test_int8_graph_has_integer_products(bundle: Path, tmp_path: Path) -> None:
    """Each of the 2 layers has one quantized attention and three integer products; no weight product stays fp32."""
    found = operators(Path(shutil.copy(bundle / "int8.onnx", tmp_path)))
    assert found["QAttention"] == 2
    assert found["DynamicQuantizeMatMul"] + found["MatMulIntegerToFloat"] == 2 * 3 + 2
    assert (found["MatMul"], found["Gemm"]) == (0, 0)


def test_logits_equal_pytorch(checkpoint: Path, bundle: Path) -> None:
    """The fp32 graph gives PyTorch's logits on a padded batch, sequence lengths that tracing never saw included."""
    import torch
    from transformers import AutoModelForSequenceClassification

    model = AutoModelForSequenceClassification.from_pretrained(checkpoint).eval()
    generator = np.random.default_rng(0)
    for lengths in ([3], [5, 31], [17, 2, 29, 32]):
        mask = (np.arange(max(lengths)) < np.array(lengths)[:, None]).astype(np.int64)
        batch = {
            "input_ids": generator.integers(5, 60, mask.shape) * mask,
            "attention_mask": mask,
            "token_type_ids": np.zeros_like(mask),
        }
        with torch.no_grad():
            expected = model(**{name: torch.from_numpy(values) for name, values in batch.items()}).logits.numpy()
        session = onnxruntime.InferenceSession(bundle / "fp32.onnx", providers=["CPUExecutionProvider"])
        np.testing.assert_allclose(session.run(["logits"], batch)[0], expected, atol=2e-5)


def test_manifest_records_proof(bundle: Path) -> None:
    """What was measured, on what, from which weights and with which limits stands in the manifest."""
    manifest = open_bundle(bundle).manifest
    assert (manifest.name, manifest.version, manifest.labels) == ("tiny", "1", ("negative", "neutral", "positive"))
    assert (manifest.provenance.dev.source, manifest.provenance.dev.texts) == ("dev.jsonl", 100)
    fp32 = next(each for each in manifest.variants if each.name == "fp32")
    assert fp32.quality.accuracy == manifest.provenance.reference.accuracy
    assert fp32.quality.label_agreement == 1
    assert fp32.quality.max_logit_difference < 1e-4
    assert fp32.limits.max_logit_difference == 1e-3
    assert fp32.providers == ("cpu", "cuda")


def test_variant_past_limit_is_left_out(checkpoint: Path, tmp_path: Path) -> None:
    """A variant that breaks a limit is not in the bundle; the others are."""
    outcome = export(checkpoint, tmp_path / "out", int8_min_agreement=1.0, int8_max_drop=0)
    faults = {each.precision.value: each.faults for each in outcome.candidates}
    assert faults["fp32"] == []
    assert "agrees with PyTorch on" in faults["int8"][0]
    assert [each.name for each in open_bundle(tmp_path / "out").manifest.variants] == ["fp32"]
    assert not (tmp_path / "out" / "int8.onnx").exists()


def test_no_bundle_when_nothing_passes(checkpoint: Path, tmp_path: Path) -> None:
    """Where every variant breaks a limit nothing is written."""
    outcome = export(checkpoint, tmp_path / "out", fp32_max_logit_difference=0, variants=["fp32"])
    assert "a logit differs by" in outcome.candidates[0].faults[0]
    assert list(tmp_path.iterdir()) == []


def test_dev_file_of_ones_own(checkpoint: Path, tmp_path: Path) -> None:
    """Other labelled texts, under other column names, take the place of the training's dev texts."""
    dev = tmp_path / "mine.csv"
    dev.write_text("body,kind\nw1 w2,positive\nw3,negative\n")
    outcome = export(checkpoint, tmp_path / "out", dev=dev, text_column="body", label_column="kind", variants=["fp32"])
    assert outcome.texts == 2
    assert open_bundle(tmp_path / "out").manifest.provenance.dev.source == "mine.csv"


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("text,label\nw1,unheard\n", "row 1: label 'unheard' is none of the model's 3 labels"),
        ("text,kind\nw1,positive\n", "row 1 has no column 'label'; it has 'text', 'kind'"),
        ("text,label\n", "has no rows"),
        ("text,label\nw1,positive\n ,positive\n", "row 2: text is empty"),
        ("text,label\nw1\n", "row 1: the row has 1 fields where the header has 2"),
        ("", "is empty"),
    ],
)
def test_refuses_bad_dev(checkpoint: Path, tmp_path: Path, content: str, reason: str) -> None:
    """Labelled texts that cannot prove anything are refused with the row and the reason."""
    dev = tmp_path / "dev.csv"
    dev.write_text(content)
    with pytest.raises(UserError, match=reason):
        export(checkpoint, tmp_path / "out", dev=dev)


def test_refuses_existing_output(checkpoint: Path, tmp_path: Path) -> None:
    """An output that exists is not touched unless told so, and then replaced as a whole."""
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine").write_text("precious")
    with pytest.raises(UserError, match="exists"):
        export(checkpoint, tmp_path / "out")
    assert (tmp_path / "out" / "mine").read_text() == "precious"
    export(checkpoint, tmp_path / "out", overwrite=True, variants=["fp32"])
    assert [each.name for each in open_bundle(tmp_path / "out").manifest.variants] == ["fp32"]
    assert [each.name for each in tmp_path.iterdir()] == ["out"]


@pytest.mark.parametrize("name", ["training.json", "config.json", "model.safetensors", "tokenizer.json"])
def test_refuses_incomplete_checkpoint(copy: Path, tmp_path: Path, name: str) -> None:
    """A checkpoint that lacks a file is named as such."""
    (copy / name).unlink()
    with pytest.raises(UserError, match=f"has no {name}"):
        export(copy, tmp_path / "out")


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("training.json", "{}", "training.json is wrong at schema_version"),
        ("training.json", "nonsense", "training.json is wrong"),
        ("config.json", "nonsense", "config.json is not JSON"),
        (
            "config.json",
            '{"model_type": "bert", "auto_map": {"AutoModel": "code.Model"}}',
            "auto_map, which can run code",
        ),
        ("model.safetensors", "nonsense", "cannot be loaded"),
    ],
)
def test_refuses_damaged_checkpoint(copy: Path, tmp_path: Path, name: str, content: str, reason: str) -> None:
    """A checkpoint with a wrong file is refused in one line."""
    (copy / name).write_text(content)
    with pytest.raises(UserError, match=reason) as caught:
        export(copy, tmp_path / "out")
    assert "\n" not in str(caught.value)


def test_refuses_weights_that_are_no_numbers(copy: Path, tmp_path: Path) -> None:
    """A checkpoint whose training diverged is named as such, not passed on to the quantizer."""
    from safetensors.torch import load_file, save_file

    weights = load_file(copy / "model.safetensors")
    weights["classifier.bias"][0] = float("nan")
    save_file(weights, copy / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(UserError, match="not all finite numbers"):
        export(copy, tmp_path / "out")


def test_refuses_missing_weights(copy: Path, tmp_path: Path) -> None:
    """Weights that the file lacks are not made up: random ones would agree with themselves perfectly."""
    from safetensors.torch import load_file, save_file

    weights = {key: value for key, value in load_file(copy / "model.safetensors").items() if "layer.1" not in key}
    save_file(weights, copy / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(UserError, match=r"does not fit config\.json: missing keys bert\.encoder\.layer\.1"):
        export(copy, tmp_path / "out")


def test_refuses_changed_model(copy: Path, tmp_path: Path) -> None:
    """A model that answers otherwise than after training, here by its number of heads, is not proven against itself."""
    config = json.loads((copy / "config.json").read_text())
    (copy / "config.json").write_text(json.dumps(config | {"num_attention_heads": 1}))
    with pytest.raises(UserError, match="of 100 dev texts the label it gave after training"):
        export(copy, tmp_path / "out")


def test_refuses_labels_that_differ(copy: Path, tmp_path: Path) -> None:
    """Labels of the config and of the training must be the same, in the same order."""
    training = json.loads((copy / "training.json").read_text())
    (copy / "training.json").write_text(json.dumps(training | {"labels": training["labels"][::-1]}))
    with pytest.raises(UserError, match="different labels"):
        export(copy, tmp_path / "out")


@pytest.mark.parametrize("name", ["a b", "-x", "a/b", "x" * 65, "ü"])
def test_refuses_unusable_model_name(name: str) -> None:
    """A model's name must fit into a request, a metric and a folder."""
    with pytest.raises(ValueError, match="cannot be a model's name"):
        ExportConfig(checkpoint=Path("c"), output=Path("o"), name=name)
