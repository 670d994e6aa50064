"""`bertwire export --texts`: agreement with PyTorch on texts without labels."""

import json
from pathlib import Path

import numpy as np
import pytest
from transformers import BertForSequenceClassification

from bertwire_core.errors import UserError
from bertwire_core.pooled import PooledClassifier
from bertwire_core.pooling import Pooling
from bertwire_core.scope import SCOPE, scopes, write_centroids
from bertwire_export import prove
from bertwire_export.checkpoint import load_checkpoint, with_vectors
from bertwire_export.examples import Logits, in_chunks, means
from bertwire_export.serving_tokenizer import serving_tokenizer
from bertwire_export.torch_run import torch_by_text
from bertwire_runtime.bundle import open_bundle
from bertwire_runtime.layouts import Arrays
from bertwire_runtime.predictor import Predictor
from bertwire_runtime.runner import Runner
from graphs import export
from rows import LIMITS, Made
from support import random_texts


def write(path: Path, texts: list[str]) -> Path:
    path.write_text("".join(f"{text}\n" for text in texts))
    return path


def test_recorded(checkpoint: Path, tmp_path: Path) -> None:
    """Texts of several files, each distinct one once, are compared; the bundle and the report say how."""
    first = write(tmp_path / "a.txt", random_texts(40, seed=5))
    rows = [{"text": text} for text in [*random_texts(40, seed=5)[:3], *random_texts(10, seed=6)]]
    second = tmp_path / "b.jsonl"
    second.write_text("".join(json.dumps(row) + "\n" for row in rows))
    outcome = export(checkpoint, tmp_path / "out", variants=["fp32"], texts=[first, second])
    assert outcome.manifest is not None
    texts = outcome.manifest.provenance.texts
    assert texts is not None
    distinct = {*random_texts(40, seed=5), *random_texts(10, seed=6)}
    assert (texts.source, texts.texts) == ("a.txt, b.jsonl", len(distinct))
    found = outcome.manifest.variants[0].proofs[0].texts
    assert found is not None
    assert (found.decisions, found.label_agreement) == (len(distinct), 1.0)
    assert found.max_logit_difference < 1e-4
    page = (tmp_path / "out.report.html").read_text()
    assert f"{len(distinct)} texts without labels of <bdi>a.txt, b.jsonl</bdi>" in page
    assert f"it decides as PyTorch in 100.00% of {len(distinct)} cases" in page
    assert open_bundle(tmp_path / "out").manifest == outcome.manifest


# The token of w59.
WORD = 64
# Most of them are longer than 32 tokens.
LONG = random_texts(60, seed=8, longest=120)


class WrongOn(Runner):
    """Runs graphs; batches with the word w59 have the logits of other labels."""

    def run(self, arrays: Arrays) -> Logits:
        """The logits, in reverse order where the batch holds the word."""
        rows = super().run(arrays)
        if (arrays["input_ids"] == WORD).any():
            rows[:, :3] = rows[:, 2::-1].copy()
        return rows


def test_wrong_on_texts_alone(checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A graph that is right on dev and wrong on a word that dev lacks is not published, and the reason says where."""
    monkeypatch.setattr(prove, "Runner", WrongOn)
    texts = write(tmp_path / "a.txt", [f"w59 w{number}" for number in range(20)])
    dev = tmp_path / "dev.jsonl"
    plain = [text for text in random_texts(300) if "w59" not in text.split()][:100]
    dev.write_text("".join(json.dumps({"text": text, "label": "neutral"}) + "\n" for text in plain))
    outcome = export(checkpoint, tmp_path / "out", variants=["fp32"], texts=[texts], dev=dev)
    assert outcome.manifest is None
    (agreement, *_) = [
        fault for each in outcome.proven for proof in each.proofs for fault in proof.faults if "--texts" in fault
    ]
    assert agreement.startswith("it decides as PyTorch in ")
    assert export(checkpoint, tmp_path / "out", variants=["fp32"], dev=dev).manifest is not None


class AskewOn(Runner):
    """Runs graphs; batches with the word w59 have other vectors, which changes no decision for a label."""

    def run(self, arrays: Arrays) -> Logits:
        """The logits, and where the batch holds the word vectors that point away."""
        rows = super().run(arrays)
        if (arrays["input_ids"] == WORD).any():
            rows[:, 3:] *= -10
        return rows


@pytest.fixture
def abstaining(checkpoint_copy: Path) -> Path:
    """The tiny checkpoint with its head on a pooled vector; it reads 3 chunks and abstains from half of the texts."""
    plain = BertForSequenceClassification.from_pretrained(checkpoint_copy)
    model = PooledClassifier(plain.bert, Pooling("first", pooler=True))
    model.set_head(plain.classifier.weight, plain.classifier.bias)
    model.save(checkpoint_copy)
    path = checkpoint_copy / "training.json"
    record = json.loads(path.read_text()) | {"chunks": 3, "chunk_overlap": 2}
    path.write_text(json.dumps(record))
    checkpoint = with_vectors(load_checkpoint(checkpoint_copy))
    chunks = in_chunks(serving_tokenizer(checkpoint).encode_batch(LONG), 3)
    rows = means(chunks, torch_by_text(checkpoint, [each for text in chunks for each in text]))
    logits, vectors = rows[:, :3], rows[:, 3:]
    centroids = vectors[:1] / np.linalg.norm(vectors[:1])
    (checkpoint_copy / SCOPE).write_bytes(write_centroids(centroids))
    threshold = float(np.median(scopes(logits, vectors, centroids, 0.1)))
    record["stages"] = {"abstain": {"threshold": threshold, "entropy_weight": 0.1}}
    path.write_text(json.dumps(record))
    return checkpoint_copy


def test_served_answers_are_compared(abstaining: Path, tmp_path: Path) -> None:
    """Of long texts the mean of their chunks, and whether the model abstains: what the bundle answers."""
    texts = write(tmp_path / "a.txt", LONG)
    outcome = export(abstaining, tmp_path / "out", variants=["fp32"], texts=[texts])
    assert outcome.manifest is not None
    found = outcome.manifest.variants[0].proofs[0].texts
    assert found is not None
    predictor = Predictor(open_bundle(tmp_path / "out"), threads=1)
    answers = predictor.run(LONG)
    predictor.close()
    assert max(each.token_count for each in answers) > 64
    assert 0 < sum(each.abstained for each in answers) < len(LONG)
    assert (found.decisions, found.label_agreement, found.abstain_agreement) == (60, 1.0, 1.0)
    assert found.abstained == pytest.approx(np.mean([each.abstained for each in answers]))
    page = (tmp_path / "out.report.html").read_text()
    assert f"abstains from {found.abstained:.2%} of them and as PyTorch in 100.00%" in page


@pytest.mark.parametrize(("runner", "fault"), [(WrongOn, "decides"), (AskewOn, "abstains")])
def test_wrong_behind_the_first_chunk(
    abstaining: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, runner: type[Runner], fault: str
) -> None:
    """A graph that is wrong on a word of later chunks alone is not published, and the reason says where."""
    monkeypatch.setattr(prove, "Runner", runner)
    texts = write(tmp_path / "a.txt", [f"{text} {'w1 ' * 40} w59" for text in random_texts(30, seed=4)])
    dev = tmp_path / "dev.jsonl"
    plain = [text for text in random_texts(300) if "w59" not in text.split()][:100]
    dev.write_text("".join(json.dumps({"text": text, "label": "neutral"}) + "\n" for text in plain))
    outcome = export(abstaining, tmp_path / "out", variants=["fp32"], texts=[texts], dev=dev)
    assert outcome.manifest is None
    faults = [each for one in outcome.proven for proof in one.proofs for each in proof.faults]
    assert any(each.startswith(f"it {fault} as PyTorch in ") and "of --texts" in each for each in faults)


def test_every_task(made: Made, tmp_path: Path) -> None:
    """Numbers have no decisions; a tag a word is one; pairs of texts are refused."""
    texts = write(tmp_path / "a.txt", random_texts(12, seed=7, longest=5))
    if made.kind == "pairs":
        with pytest.raises(UserError, match="--texts is for models of single texts"):
            export(made.checkpoint, tmp_path / "out", texts=[texts], **LIMITS)
        return
    outcome = export(made.checkpoint, tmp_path / "out", variants=["fp32"], texts=[texts])
    (found,) = [proof.texts for each in outcome.proven for proof in each.proofs]
    assert found is not None
    assert found.max_logit_difference < 1e-3
    assert (found.label_agreement is None) == (made.kind == "regression")
    words = sum(len(text.split()) for text in set(texts.read_text().splitlines()))
    assert found.decisions == {"multi_label": 36, "regression": 0, "token_classification": words}[made.kind]


def test_missing_column(checkpoint: Path, tmp_path: Path) -> None:
    """A table without the column is one line that names the option."""
    path = tmp_path / "a.csv"
    path.write_text("body\nw1 w2\n")
    with pytest.raises(UserError, match=r"has no column 'text'; it has 'body': choose with --text-column$"):
        export(checkpoint, tmp_path / "out", texts=[path])
