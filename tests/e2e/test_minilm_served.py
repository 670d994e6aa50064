"""The installed MiniLM: exported without training, served, and asked for vectors."""

from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import AutoModel, AutoTokenizer

from bertwire_batch import EmbedConfig, embed_file
from bertwire_client import Client
from bertwire_core.minilm import minilm_folder
from bertwire_export.config import ExportConfig
from bertwire_export.pipeline import run
from bertwire_export.vectors import built_in
from bertwire_runtime.bundle import Embedding, open_bundle
from support import Serve

# Of one token and of more tokens than the model reads.
TEXTS = [*built_in()[:12], "yes", "a long text about nothing " * 80]


def by_pytorch() -> list[torch.Tensor]:
    """The normalized mean of the tokens' vectors, by transformers alone."""
    folder = minilm_folder("")
    tokenizer, model = AutoTokenizer.from_pretrained(folder), AutoModel.from_pretrained(folder).eval()
    found = []
    for text in TEXTS:
        tokens = tokenizer(text, truncation=True, max_length=256, return_tensors="pt")
        with torch.inference_mode():
            found.append(torch.nn.functional.normalize(model(**tokens)[0][0].mean(dim=0), dim=0))
    return found


@pytest.mark.timeout(600)
def test_minilm(serve: Serve, tmp_path: Path) -> None:
    """Vectors of fp32 are PyTorch's, those of int8 near; cut ones have the length 1; a file of texts is embedded."""
    outcome = run(ExportConfig(checkpoint=Path("minilm"), output=tmp_path / "minilm", quick=True))
    assert outcome.manifest is not None
    assert outcome.manifest.embedding == Embedding(dimensions=384, pooling="mean", normalize=True)
    assert outcome.manifest.max_length == 256
    variants = {each.precision: each.proofs[0] for each in open_bundle(tmp_path / "minilm").manifest.variants}
    assert variants["int8"].batch_variance == 0
    assert not variants["int8"].faults
    expected = np.stack([each.numpy() for each in by_pytorch()])
    for variant, least in (("fp32", 0.99999), ("int8", 0.95)):
        with serve(tmp_path / "minilm", "--variant", variant) as server, Client(server.address) as client:
            found = client.embed(TEXTS)
            cut = client.embed(TEXTS, dimensions=64)
            if variant == "fp32":
                path = tmp_path / "texts.txt"
                path.write_text("text\n" + "".join(f'"{text}"\n' for text in TEXTS))
                embed_file(EmbedConfig(inputs=[path], output=tmp_path / "out.parquet", server=[server.address]))
        assert (found * expected).sum(axis=1).min() > least
        np.testing.assert_allclose(np.linalg.norm(cut, axis=1), 1, atol=1e-5)
        unit = found[:, :64] / np.linalg.norm(found[:, :64], axis=1, keepdims=True)
        np.testing.assert_allclose(cut, unit, atol=1e-5)
    assert (tmp_path / "out.parquet").stat().st_size > 4 * 384 * len(TEXTS) // 2
