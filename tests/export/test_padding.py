"""What is padding: to the model, to the tokenizer and in a batch."""

from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import AutoModelForSequenceClassification

from bertwire_export.bundle import open_bundle
from bertwire_export.bundle.layouts import variant_layout
from bertwire_export.measure import Runner
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
