"""Conversion by Optimum itself, where its environment is there: the same model as by our own converter."""

from collections import Counter
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from transformers import PreTrainedModel

from bertwire_export.optimum import convert_with_optimum
from bertwire_runtime.bundle import open_bundle
from graphs import export

OPTIMUM = Path(__file__).resolve().parents[2] / ".optimum" / "bin" / "python"
pytestmark = pytest.mark.skipif(not OPTIMUM.is_file(), reason="needs Optimum's environment: make optimum")


def save_tagger(folder: Path) -> PreTrainedModel:
    """Saves and returns a tiny random BERT with a head for words."""
    import torch
    from transformers import BertConfig, BertForTokenClassification

    torch.manual_seed(2)
    config = BertConfig(
        vocab_size=65,
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=64,
        max_position_embeddings=64,
        id2label={0: "a", 1: "b", 2: "c"},
        initializer_range=0.3,
    )
    model = BertForTokenClassification(config)
    model.classifier.weight.data.normal_(std=0.5)  # logits far enough from zero for their difference to tell something
    model.save_pretrained(folder)
    loaded = BertForTokenClassification.from_pretrained(folder, attn_implementation="eager")
    loaded.float().eval()
    return loaded


def test_both_converters_give_the_same_logits(tmp_path: Path) -> None:
    """On random batches, padded and of lengths that no tracing saw, fused graphs of both agree with PyTorch."""
    import torch

    from bertwire_export.convert import convert, fuse, input_names

    model = save_tagger(tmp_path / "model")
    inputs = input_names(model)
    convert(model, tmp_path / "torch.onnx")
    convert_with_optimum(tmp_path / "model", "token_classification", inputs, tmp_path / "optimum.onnx", OPTIMUM)
    sessions = []
    for name in ("torch", "optimum"):
        fuse(tmp_path / f"{name}.onnx", model, tmp_path / f"{name}-fused.onnx", attention=True)
        path = tmp_path / f"{name}-fused.onnx"
        sessions.append(onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"]))
    generator = np.random.default_rng(0)
    for lengths in ([3], [5, 31], [17, 2, 29, 60]):
        mask = (np.arange(max(lengths)) < np.array(lengths)[:, None]).astype(np.int64)
        batch = {
            "input_ids": generator.integers(5, 65, mask.shape) * mask,
            "attention_mask": mask,
            "token_type_ids": generator.integers(0, 2, mask.shape) * mask,
        }
        with torch.no_grad():
            expected = model(**{name: torch.from_numpy(values) for name, values in batch.items()}).logits.numpy()
        # What a token classifier says of padding is nobody's business.
        real = mask.astype(bool)
        for session in sessions:
            found = session.run(["logits"], batch)[0]
            assert (found.dtype, found.shape) == (np.float32, expected.shape)
            np.testing.assert_allclose(found[real], expected[real], atol=1e-4)


def test_optimums_graphs_are_proven_and_fused(checkpoint: Path, tmp_path: Path) -> None:
    """Export by Optimum keeps the same limits with padded graphs alone, and says who converted."""
    outcome = export(checkpoint, tmp_path / "out", converter="optimum", optimum_python=OPTIMUM, quick=False)
    assert outcome.notes == ["every graph computes padding: optimum makes padded ones"]
    proofs = {each.built.name: each.proofs[0] for each in outcome.proven if "cpu" in each.built.providers}
    assert {name: proof.faults for name, proof in proofs.items()} == {"fp32-padded": (), "int8-padded": ()}
    assert proofs["fp32-padded"].dev.max_logit_difference < 1e-4
    manifest = open_bundle(tmp_path / "out").manifest
    assert {each.name for each in manifest.variants} == {"fp32-padded", "int8-padded"}
    assert manifest.provenance.converter == "optimum"
    fused = {"EmbedLayerNormalization": 1, "Attention": 2, "SkipLayerNormalization": 4, "BiasGelu": 2}
    counts = Counter(node.op_type for node in onnx.load(tmp_path / "out" / "fp32-padded.onnx").graph.node)
    assert {name: counts[name] for name in fused} == fused
    # On a machine with CUDA there are fp16 graphs too; none of any precision is packed.
    assert {each.built.layout.kind for each in outcome.proven} == {"padded"}
