"""`bertwire export --texts`: agreement with PyTorch on texts without labels."""

import json
from pathlib import Path

import pytest

from bertwire_core.errors import UserError
from bertwire_export import prove
from bertwire_export.examples import Logits
from bertwire_runtime.bundle import open_bundle
from bertwire_runtime.layouts import Arrays
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


class WrongOn(Runner):
    """Runs graphs; batches with the word w59 have the logits of other labels."""

    def run(self, arrays: Arrays) -> Logits:
        """The logits, in reverse order where the batch holds the word."""
        logits = super().run(arrays)
        return logits[:, ::-1] if (arrays["input_ids"] == WORD).any() else logits


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


def test_every_task(made: Made, tmp_path: Path) -> None:
    """Numbers have no decisions; a tag a token is one; pairs of texts are refused."""
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
    assert {"multi_label": 36, "regression": 0}.get(made.kind, found.decisions) == found.decisions


def test_missing_column(checkpoint: Path, tmp_path: Path) -> None:
    """A table without the column is one line that names the option."""
    path = tmp_path / "a.csv"
    path.write_text("body\nw1 w2\n")
    with pytest.raises(UserError, match=r"has no column 'text'; it has 'body': choose with --text-column$"):
        export(checkpoint, tmp_path / "out", texts=[path])
