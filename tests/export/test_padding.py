"""What is padding: to the model, to the tokenizer and in a batch."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import AutoModelForSequenceClassification, PreTrainedModel

from bertwire_core.errors import UserError
from bertwire_export import pipeline
from bertwire_export.packed.weights import Encoder, read_encoder
from bertwire_runtime.bundle import open_bundle
from bertwire_runtime.layouts import variant_layout
from bertwire_runtime.runner import Runner
from graphs import export, put_model, random_batch, tiny_model
from support import export_padded


@pytest.mark.parametrize("layout", ["packed", "padded"])
def test_models_own_padding_token(checkpoint_copy: Path, tmp_path: Path, layout: str) -> None:
    """Where the tokenizer's padding token is another, positions leave out the model's: here the unknown token."""
    put_model(tiny_model("roberta", pad_token_id=1), checkpoint_copy)
    if layout == "packed":
        export(checkpoint_copy, tmp_path / "out", variants=["fp32"])
    else:
        export_padded(checkpoint_copy, tmp_path / "out", variants=["fp32"])
    texts = random_batch([9, 30, 17])
    for text in texts:
        text.ids[2:5] = [1, 0, 1]
    model = AutoModelForSequenceClassification.from_pretrained(checkpoint_copy).eval()
    with torch.inference_mode():
        expected = [
            model(torch.tensor([text.ids]), token_type_ids=torch.tensor([text.type_ids])).logits[0].numpy()
            for text in texts
        ]
    manifest = open_bundle(tmp_path / "out").manifest
    variant = manifest.variants[0]
    assert variant.layout == layout
    runner = Runner(tmp_path / "out" / variant.file.name, variant_layout(manifest, variant), "cpu", threads=1)
    np.testing.assert_allclose(runner.by_text(texts), expected, atol=2e-5)


def test_unknown_and_padding_tokens_are_tried(
    checkpoint_copy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A graph that is right on all rows and wrong beside a token that none of them has is not published."""
    put_model(tiny_model("roberta", pad_token_id=1), checkpoint_copy)

    def count_every_token(model: PreTrainedModel) -> Encoder:
        encoder = read_encoder(model)
        return replace(encoder, skips_padding=False, positions=encoder.positions[1:])

    monkeypatch.setattr(pipeline, "read_encoder", count_every_token)
    outcome = export(checkpoint_copy, tmp_path / "out", variants=["fp32"], quick=False)
    packed, padded = outcome.proven
    assert packed.proofs[0].dev.max_logit_difference < 2e-5
    assert [fault.split(" a logit")[0] for fault in packed.proofs[0].faults] == [
        "with unknown, padding and other special tokens in a text"
    ]
    assert not padded.proofs[0].faults
    assert [each.name for each in open_bundle(tmp_path / "out").manifest.variants] == ["fp32-padded"]


def test_answers_that_depend_on_padding(checkpoint_copy: Path, tmp_path: Path) -> None:
    """A model that mixes padding into its answers is told so, and not that its files were changed."""
    put_model(tiny_model("convbert", embedding_size=16), checkpoint_copy)
    with pytest.raises(UserError, match=r"its answers depend on the padding of a batch.* another type than convbert$"):
        export(checkpoint_copy, tmp_path / "out")
