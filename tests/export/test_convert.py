"""Graphs that PyTorch's exporter writes, and what becomes of them where a fusion is wrong or impossible."""

from pathlib import Path

import pytest

from bertwire_core.errors import UserError
from bertwire_export.convert import convert, fuse
from bertwire_runtime.bundle import open_bundle
from graphs import export, put_model, tiny_model


def test_fusion_that_drops_an_embedding(checkpoint_copy: Path, tmp_path: Path) -> None:
    """Where the fused graph answers otherwise, here without ERNIE's task embedding, the unfused one is published."""
    put_model(tiny_model("ernie", use_task_id=True, task_type_vocab_size=3), checkpoint_copy)
    outcome = export(checkpoint_copy, tmp_path / "out")
    variants = open_bundle(tmp_path / "out").manifest.variants
    assert {each.name for each in variants} == {"fp32-padded", "int8-padded"}
    assert all(not each.proofs[0].faults for each in outcome.proven)
    # Int8 keeps attention apart, and with it the fusion that does so.
    assert [note.split(":")[0] for note in outcome.notes if "fused" in note] == ["fp32-padded is not fused"]


@pytest.mark.parametrize("kind", ["deberta", "deberta-v2"])
def test_conversion_is_silent(tmp_path: Path, kind: str, caplog: pytest.LogCaptureFixture) -> None:
    """What the libraries think of a graph on the way is nothing that a user can act on; warnings are errors here."""
    model = tiny_model(kind, relative_attention=True, pos_att_type=["p2c", "c2p"], position_biased_input=False)
    convert(model, tmp_path / "unfused.onnx")
    fuse(tmp_path / "unfused.onnx", model, tmp_path / "fused.onnx", attention=True)
    assert not caplog.records


def test_what_cannot_be_built_is_one_line(checkpoint_copy: Path, tmp_path: Path) -> None:
    """A precision that a model's graph does not allow is named with the way out."""
    put_model(tiny_model("squeezebert", embedding_size=32), checkpoint_copy)
    with pytest.raises(UserError, match=r"^int8-padded cannot be built of this model: .* leave its precision out"):
        export(checkpoint_copy, tmp_path / "out")
