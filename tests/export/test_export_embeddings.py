"""Encoders exported for their vectors: what their folders say, PyTorch's vectors in every graph, and the gate."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from transformers import AutoModel, AutoTokenizer

from bertwire_core.errors import UserError
from bertwire_core.pooled import PooledClassifier, pool
from bertwire_core.pooling import Pooled, Pooling
from bertwire_export import prove
from bertwire_export.checkpoint import load_checkpoint
from bertwire_export.examples import Logits
from bertwire_export.sentence import Sentence, read_sentence
from bertwire_export.similarity import nearest
from bertwire_runtime.bundle import Embedding, open_bundle
from bertwire_runtime.layouts import Arrays
from bertwire_runtime.predictor import Predictor
from bertwire_runtime.runner import Runner
from graphs import export
from support import LABELS, export_padded, random_texts

# Random weights may lose what they like to int8.
FREE = {"int8_min_cosine": 0, "int8_min_neighbours": 0}
TEXTS = random_texts(40, seed=8)


@pytest.fixture
def texts(tmp_path: Path) -> Path:
    """A file of texts."""
    path = tmp_path / "texts.txt"
    path.write_text("".join(f"{text}\n" for text in TEXTS))
    return path


def sentence_folder(base: Path, folder: Path, pooling: dict[str, Any], *more: str, max_length: int = 16) -> Path:
    """Makes a folder of sentence-transformers of an encoder."""
    shutil.copytree(base, folder)
    kinds = ["Transformer", "Pooling", *more]
    paths = ["", *(f"{place}_{kind}" for place, kind in enumerate(kinds) if place)]
    modules = [
        {"idx": place, "name": str(place), "path": path, "type": f"sentence_transformers.models.{kind}"}
        for place, (path, kind) in enumerate(zip(paths, kinds, strict=True))
    ]
    (folder / "modules.json").write_text(json.dumps(modules))
    (folder / "sentence_bert_config.json").write_text(json.dumps({"max_seq_length": max_length}))
    (folder / "1_Pooling").mkdir()
    (folder / "1_Pooling" / "config.json").write_text(json.dumps(pooling))
    return folder


def by_pytorch(folder: Path, texts: list[str], pooling: Pooling, max_length: int) -> NDArray[np.float32]:
    """The vectors of texts one by one, by transformers alone."""
    tokenizer, model = AutoTokenizer.from_pretrained(folder), AutoModel.from_pretrained(folder).eval()
    found = []
    for text in texts:
        tokens = tokenizer(text, truncation=True, max_length=max_length, return_tensors="pt")
        with torch.inference_mode():
            vectors = pool(model(**tokens)[0], tokens["attention_mask"], pooling.tokens)
        found.append((torch.nn.functional.normalize(vectors, dim=-1) if pooling.normalize else vectors)[0].numpy())
    return np.stack(found)


def served(bundle: Path, precision: str) -> NDArray[np.float32]:
    """The vectors of the texts by a bundle."""
    predictor = Predictor(open_bundle(bundle), precision, "cpu", 1)
    outputs = predictor.run(TEXTS)
    predictor.close()
    found = [each.embedding for each in outputs if each.embedding is not None]
    assert len(found) == len(TEXTS)
    return np.stack(found)


@pytest.mark.parametrize(
    ("config", "modules", "pooling"),
    [
        (
            {"pooling_mode_mean_tokens": True, "pooling_mode_cls_token": False},
            ["Normalize"],
            Pooling("mean", False, True),
        ),
        ({"pooling_mode": "max", "embedding_dimension": 32}, [], Pooling("max")),
        ({"pooling_mode": ["cls"], "include_prompt": True}, [], Pooling("first")),
    ],
)
@pytest.mark.parametrize("make", [export, export_padded])
def test_sentence_transformers(
    task_base: Path,
    tmp_path: Path,
    texts: Path,
    make: Callable[..., object],
    config: dict[str, Any],
    modules: list[str],
    pooling: Pooling,
) -> None:
    """The pooling and the length are the folder's; packed and padded graphs give PyTorch's vectors."""
    folder = sentence_folder(task_base, tmp_path / "encoder", config, *modules)
    make(folder, tmp_path / "bundle", texts=[texts], **FREE)
    manifest = open_bundle(tmp_path / "bundle").manifest
    assert manifest.embedding == Embedding(dimensions=32, pooling=pooling.tokens, normalize=pooling.normalize)
    assert (manifest.task, manifest.labels, manifest.max_length) == ("embedding", (), 16)
    assert (manifest.provenance.base_model, manifest.provenance.training_sha256) == ("encoder", None)
    expected = by_pytorch(folder, TEXTS, pooling, 16)
    np.testing.assert_allclose(served(tmp_path / "bundle", "fp32"), expected, atol=2e-5)
    int8 = served(tmp_path / "bundle", "int8")
    assert np.abs(int8 - expected).mean() < 0.3 * expected.std()


def test_plain_encoder(task_base: Path, tmp_path: Path, texts: Path) -> None:
    """The mean of its tokens, not normalized, unless the options say otherwise; the report and the facts say what."""
    outcome = export(task_base, tmp_path / "plain", texts=[texts], variants=["fp32"])
    assert outcome.manifest is not None
    assert outcome.manifest.embedding == Embedding(dimensions=32, pooling="mean", normalize=False)
    assert outcome.manifest.max_length == 64
    options: dict[str, Any] = {"pooling": "first", "normalize": True, "max_length": 8}
    other = export(task_base, tmp_path / "other", texts=[texts], variants=["fp32"], **options)
    assert other.manifest is not None
    assert other.manifest.embedding == Embedding(dimensions=32, pooling="first", normalize=True)
    np.testing.assert_allclose(
        served(tmp_path / "other", "fp32"), by_pytorch(task_base, TEXTS, Pooling("first", False, True), 8), atol=2e-5
    )
    page = (tmp_path / "other.report.html").read_text()
    assert "vectors of 32 dimensions: the first token&#39;s vector, normalized" in page
    assert "neighbours at most 0.01 below" in page
    assert "max number difference" in page
    assert "logit" not in page


def test_pairs_with_scores(task_base: Path, tmp_path: Path) -> None:
    """Pairs are scored by Spearman's correlation, beside the neighbours of their distinct texts."""
    path = tmp_path / "pairs.jsonl"
    rows = [{"text": TEXTS[at], "text_pair": TEXTS[at - 1], "label": at / 7} for at in range(len(TEXTS))]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    outcome = export(task_base, tmp_path / "bundle", dev=path, **FREE)
    assert outcome.manifest is not None
    assert (outcome.texts, outcome.manifest.provenance.dev.source) == (len(set(TEXTS)), "pairs.jsonl")
    scores = {each.precision: each.proofs[0].dev.scores for each in outcome.manifest.variants}
    assert scores["fp32"] == pytest.approx(outcome.reference.dev, abs=1e-6)
    assert list(scores["int8"]) == ["cosine", "least_cosine", "neighbours", "spearman"]
    assert 0 < scores["int8"]["least_cosine"] <= scores["int8"]["cosine"] < 1


class Shifted(Runner):
    """Runs graphs; the vectors of half of the texts are those of others."""

    def run(self, arrays: Arrays) -> Logits:
        """Every second vector, reversed."""
        found = super().run(arrays)
        found[::2] = found[::2, ::-1]
        return found


def test_gate(task_base: Path, tmp_path: Path, texts: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Vectors that are not PyTorch's are not published, and the reasons name cosine and neighbours."""
    monkeypatch.setattr(prove, "Runner", Shifted)
    outcome = export(task_base, tmp_path / "bundle", texts=[texts], variants=["fp32"])
    assert outcome.manifest is None
    faults = outcome.proven[0].proofs[0].faults
    assert [each.split()[1] for each in faults[:2]] == ["cosine", "neighbours"]
    assert not (tmp_path / "bundle").exists()


def test_nearest() -> None:
    """By cosine, whatever the length, without the text itself."""
    angles = np.linspace(0, np.pi / 2, 12)
    vectors = (np.stack([np.cos(angles), np.sin(angles)], axis=1) * np.arange(1, 13)[:, None]).astype(np.float32)
    found = nearest(vectors)
    assert found.shape == (12, 10)
    assert set(found[0]) == set(range(1, 11))
    assert set(found[11]) == set(range(1, 11))


@pytest.mark.parametrize(
    ("config", "modules", "words"),
    [
        ({"pooling_mode": "lasttoken"}, [], "pools by lasttoken; only one of cls, mean, max"),
        ({"pooling_mode_mean_tokens": True, "pooling_mode_max_tokens": True}, [], "pools by max and mean"),
        ({}, [], "pools by nothing"),
        ({"pooling_mode": "mean"}, ["Dense"], "has the modules Transformer, Pooling, Dense; only"),
    ],
)
def test_refuses_other_modules(
    task_base: Path, tmp_path: Path, config: dict[str, Any], modules: list[str], words: str
) -> None:
    """What no graph here computes is one line."""
    folder = sentence_folder(task_base, tmp_path / "encoder", config, *modules)
    with pytest.raises(UserError, match=words):
        export(folder, tmp_path / "bundle")


@pytest.mark.parametrize("damage", ["1_Pooling/config.json", "modules.json"])
def test_refuses_damaged_json(task_base: Path, tmp_path: Path, damage: str) -> None:
    """A file that is no JSON is named."""
    folder = sentence_folder(task_base, tmp_path / "encoder", {"pooling_mode": "mean"})
    (folder / damage).write_text("nonsense")
    with pytest.raises(UserError, match=r"\.json is not JSON"):
        read_sentence(folder)


def test_refuses_lower_casing_before_the_tokenizer(task_base: Path, tmp_path: Path) -> None:
    """The graph's tokenizer would not do it, and vectors would be others."""
    folder = sentence_folder(task_base, tmp_path / "encoder", {"pooling_mode": "mean"})
    (folder / "sentence_bert_config.json").write_text('{"do_lower_case": true}')
    with pytest.raises(UserError, match="makes texts lower case before its tokenizer"):
        read_sentence(folder)


def test_reads_lengths_and_prompts(task_base: Path, tmp_path: Path) -> None:
    """A length that is null is none; a prompt that its own library adds is noted."""
    folder = sentence_folder(task_base, tmp_path / "encoder", {"pooling_mode": "mean"}, max_length=9)
    assert read_sentence(folder) == Sentence(folder, Pooling("mean"), 9)
    (folder / "sentence_bert_config.json").write_text('{"max_seq_length": null}')
    (folder / "config_sentence_transformers.json").write_text('{"default_prompt_name": "query"}')
    assert read_sentence(folder) == Sentence(folder, Pooling("mean"), None, prompt=True)
    assert read_sentence(task_base) == Sentence(task_base)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"test": Path("x.jsonl")}, "--test is for labelled rows"),
        ({"max_length": 65}, "max_length 65 is above the model's 64 positions"),
        ({"texts": ["few"]}, "3 distinct texts are too few"),
        ({"dev": "few"}, "has no second texts"),
    ],
)
def test_refuses_options(task_base: Path, tmp_path: Path, options: dict[str, Any], words: str) -> None:
    """An option that an encoder has no use for, and texts that prove nothing."""
    few = tmp_path / "few.csv"
    few.write_text("text,label\n" + "".join(f"w{number},{number}.5\n" for number in range(3)))
    given = {name: few if value == "few" else [few] if value == ["few"] else value for name, value in options.items()}
    with pytest.raises(UserError, match=words):
        export(task_base, tmp_path / "bundle", **given)


def test_trained_checkpoint_has_its_own(checkpoint: Path, tmp_path: Path) -> None:
    """Options of encoders are refused for what training has chosen."""
    tokens: Pooled = "mean"
    with pytest.raises(UserError, match="--pooling is for an encoder that was not trained here"):
        export(checkpoint, tmp_path / "bundle", pooling=tokens)


def test_refuses_lacking_weights(task_base: Path, tmp_path: Path) -> None:
    """Weights of fewer layers than config.json has would be random."""
    folder = Path(shutil.copytree(task_base, tmp_path / "encoder"))
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"num_hidden_layers": 3}))
    with pytest.raises(UserError, match=r"model\.safetensors does not fit config\.json: it lacks encoder\.layer\.2"):
        export(folder, tmp_path / "bundle")


@pytest.fixture
def pooled(checkpoint: Path, tmp_path: Path) -> Path:
    """The tiny checkpoint with a head on the normalized mean, without predictions."""
    copy = Path(shutil.copytree(checkpoint, tmp_path / "pooled"))
    shutil.rmtree(copy / "predictions")
    base: Any = load_checkpoint(checkpoint).model.base_model
    PooledClassifier(base, Pooling("mean", normalize=True)).save(copy)
    return copy


@pytest.mark.parametrize("make", [export, export_padded])
def test_vector_of_a_classifier(pooled: Path, tmp_path: Path, texts: Path, make: Callable[..., object]) -> None:
    """A second output of the same graph: labels and vectors are PyTorch's, and both are proven."""
    rows = tmp_path / "rows.jsonl"
    lines = [{"text": text, "label": LABELS[at % 3]} for at, text in enumerate(TEXTS)]
    rows.write_text("".join(json.dumps(each) + "\n" for each in lines))
    limits = {"int8_min_agreement": 0, "int8_max_drop": 1}
    make(pooled, tmp_path / "bundle", dev=rows, vectors=True, texts=[texts], **FREE, **limits)
    bundle = open_bundle(tmp_path / "bundle")
    assert bundle.manifest.embedding == Embedding(dimensions=32, pooling="mean", normalize=True)
    assert {"accuracy", "cosine", "neighbours"} <= set(bundle.manifest.provenance.reference.dev)
    model, tokenizer = load_checkpoint(pooled).model, AutoTokenizer.from_pretrained(pooled)
    assert isinstance(model, PooledClassifier)
    predictor = Predictor(bundle, "fp32", "cpu", 1)
    for text, output in zip(TEXTS, predictor.run(TEXTS), strict=True):
        tokens = tokenizer(text, truncation=True, max_length=32, return_tensors="pt")
        with torch.inference_mode():
            logits, vector = model.both(**tokens)
        np.testing.assert_allclose(output.logits, logits[0], atol=2e-5)
        assert output.embedding is not None
        np.testing.assert_allclose(output.embedding, vector[0], atol=2e-5)
        assert output.scores.sum() == pytest.approx(1)
    predictor.close()
    proofs = {each.precision: each.proofs[0] for each in bundle.manifest.variants}
    assert proofs["fp32"].dev.scores["cosine"] > 0.9999
    assert 0 < proofs["int8"].dev.scores["cosine"] < 1
    assert proofs["int8"].texts is not None


def test_vectors_of_other_heads(checkpoint: Path, task_base: Path, tmp_path: Path) -> None:
    """A head of its architecture reads no pooled vector, and an encoder needs no option."""
    with pytest.raises(UserError, match="reads no pooled vector; train with --pooling mean"):
        export(checkpoint, tmp_path / "bundle", vectors=True)
    with pytest.raises(UserError, match="an encoder gives its vectors in any case"):
        export(task_base, tmp_path / "bundle", vectors=True)
