"""Export end to end on a tiny checkpoint: what is built, proven, published and recorded."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bertwire_core.errors import UserError
from bertwire_export import pipeline, prove
from bertwire_export.config import Precision
from bertwire_export.examples import Logits
from bertwire_runtime.bundle import Manifest, Provider, open_bundle
from bertwire_runtime.layouts import Arrays, Layout, variant_layout
from bertwire_runtime.runner import Runner
from graphs import export, random_batch
from support import LABELS, random_texts

# Of a thousand texts int8 decides some otherwise than PyTorch.
HARD = {"int8_min_agreement": 1.0, "int8_max_drop": 0}


def names(manifest: Manifest) -> set[str]:
    """The names of the published variants."""
    return {each.name for each in manifest.variants}


def write_rows(path: Path, texts: list[str], **more: Any) -> Path:  # noqa: ANN401 - any column
    """Writes labelled rows, every third text with the same label."""
    rows = [{"text": text, "label": LABELS[index % 3]} | more for index, text in enumerate(texts)]
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))
    return path


class Wrong(Runner):
    """Runs graphs; of packed ones in fp32 every logit is off."""

    def __init__(self, graph: Path, layout: Layout, provider: Provider, threads: int) -> None:
        super().__init__(graph, layout, provider, threads)
        self.off = 0.01 * graph.name.startswith("fp32-packed")

    def run(self, arrays: Arrays) -> Logits:
        """Every logit, off by a hundredth."""
        return super().run(arrays) + np.float32(self.off)


class NoCuda(Runner):
    """Runs graphs on the CPU; on CUDA none."""

    def __init__(self, graph: Path, layout: Layout, provider: Provider, threads: int) -> None:
        if provider == "cuda":
            raise UserError("no kernel")
        super().__init__(graph, layout, provider, threads)


def in_this_process(function: Callable[..., object], *arguments: object) -> object:
    """Calls a function where a stand-in for a class takes part."""
    return function(*arguments)


@pytest.fixture(scope="module")
def searched(checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle of the best of all candidates in fp32 and int8."""
    output = tmp_path_factory.mktemp("searched") / "out"
    export(checkpoint, output, quick=False, variants=[Precision.FP32, Precision.INT8])
    return output


def test_published_graph_gives_pytorchs_logits(checkpoint: Path, bundle: Path) -> None:
    """The fp32 graph of the bundle, on inputs in the layout that the manifest names, gives PyTorch's logits."""
    import torch
    from transformers import AutoModelForSequenceClassification

    model = AutoModelForSequenceClassification.from_pretrained(checkpoint).eval()
    manifest = open_bundle(bundle).manifest
    fp32 = next(each for each in manifest.variants if each.precision == "fp32")
    layout = variant_layout(manifest, fp32)
    texts = random_batch([3, 31, 17, 2, 32], words=65)
    found = Runner(bundle / fp32.file.name, layout, "cpu", threads=1).by_text(texts)
    for text, logits in zip(texts, found, strict=True):
        with torch.inference_mode():
            inputs = {"input_ids": torch.tensor([text.ids]), "token_type_ids": torch.tensor([text.type_ids])}
            np.testing.assert_allclose(logits, model(**inputs).logits[0].numpy(), atol=2e-5)


def test_manifest_records_proof(bundle: Path) -> None:
    """What was measured, on what, from which weights and with which limits stands in the manifest."""
    manifest = open_bundle(bundle).manifest
    provenance = manifest.provenance
    assert (manifest.name, manifest.version, manifest.labels) == ("tiny", "1", tuple(LABELS))
    assert (provenance.dev.source, provenance.dev.texts) == ("dev.jsonl", 100)
    assert (provenance.converter, provenance.test, provenance.reference.test) == ("torch", None, None)
    fp32 = next(each for each in manifest.variants if each.name == "fp32-packed")
    proof = next(each for each in fp32.proofs if each.provider == "cpu")
    assert proof.dev.scores == provenance.reference.dev
    assert proof.dev.label_agreement == 1
    assert 0 < proof.dev.p99_logit_difference <= proof.dev.max_logit_difference < 1e-4
    assert proof.batch_variance < 1e-5
    assert (proof.limits.max_logit_difference, proof.faults, proof.test, fp32.forced) == (1e-3, (), None, False)
    assert proof.speed.cpu_ms_per_text is not None
    assert (proof.speed.batch_size, fp32.groups) == (32, 4)


def test_int8_is_not_fp32_and_the_same_in_any_batch(bundle: Path) -> None:
    """The int8 graph is measured as what it is: other logits than PyTorch's, and the same in any batch."""
    int8 = next(each for each in open_bundle(bundle).manifest.variants if each.name == "int8-packed")
    assert int8.providers == ("cpu",)
    assert int8.proofs[0].dev.max_logit_difference > 1e-3
    assert int8.proofs[0].batch_variance == 0
    assert int8.proofs[0].limits.max_logit_difference is None


def test_one_graph_a_precision(searched: Path) -> None:
    """Of each precision the packed graph is published, and nothing else lies in the folder."""
    manifest = open_bundle(searched).manifest
    assert names(manifest) == {"fp32-packed", "int8-packed"}
    assert manifest.candidates == ()
    listed = {entry.name for entry in manifest.files} | {"manifest.json", "manifest.sha256"}
    assert {path.name for path in searched.iterdir()} == listed


def test_padded_graph_takes_the_place_of_a_wrong_packed_one(
    checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the packed fp32 graph breaks a limit the padded one, of another converter, is proven and published."""
    monkeypatch.setattr(prove, "Runner", Wrong)
    outcome = export(checkpoint, tmp_path / "out", quick=False, variants=["fp32"])
    assert outcome.manifest is not None
    assert names(outcome.manifest) == {"fp32-padded"}
    (candidate,) = outcome.manifest.candidates
    assert (candidate.name, candidate.layout) == ("fp32-packed", "packed")
    assert "a logit differs by 0.01" in candidate.proofs[0].faults[0]


def test_says_what_does_not_run_on_cuda(checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where packed graphs do not run on CUDA padded ones are tried; what does not run is told."""
    monkeypatch.setattr(pipeline, "available_providers", lambda: ["cpu", "cuda"])
    monkeypatch.setattr(prove, "Runner", NoCuda)
    monkeypatch.setattr(prove, "run_apart", in_this_process)
    outcome = export(checkpoint, tmp_path / "out", quick=False, variants=["fp32", "fp16"])
    assert {each.built.name: each.built.layout.groups for each in outcome.proven} == {
        "fp32-packed": 4,
        "fp32-padded": 0,
    }
    failed = ["fp32-packed-cuda", "fp16-packed", "fp32-padded", "fp16-padded"]
    assert outcome.notes == [f"{name} does not run on CUDA: no kernel" for name in failed]
    assert names(open_bundle(tmp_path / "out").manifest) == {"fp32-packed"}


def test_report_lies_beside_the_bundle(searched: Path) -> None:
    """The report is a page of its own, outside the sealed folder, and names the seal."""
    report = searched.with_name("out.report.html")
    assert {path.name for path in searched.parent.iterdir()} == {"out", "out.report.html"}
    assert open_bundle(searched).sha256 in report.read_text()


def test_variant_past_limit_is_left_out(checkpoint: Path, thousand_rows: Path, tmp_path: Path) -> None:
    """A variant that breaks a limit is not in the bundle; the others are, and the reason stands beside its figures.

    Test rows are a second proof, of the published variants alone.
    """
    rows = write_rows(tmp_path / "test.jsonl", random_texts(40, seed=5))
    outcome = export(checkpoint, tmp_path / "out", dev=thousand_rows, test=rows, **HARD)
    faults = {each.built.name: each.proofs[0].faults for each in outcome.proven}
    assert faults["fp32-packed"] == ()
    assert "it decides as PyTorch in" in faults["int8-packed"][0]
    manifest = open_bundle(tmp_path / "out").manifest
    assert names(manifest) == {"fp32-packed"}
    (candidate,) = manifest.candidates
    assert (candidate.name, candidate.proofs[0].faults) == ("int8-packed", faults["int8-packed"])
    assert not (tmp_path / "out" / "int8-packed.onnx").exists()
    test, reference = manifest.provenance.test, manifest.provenance.reference
    assert test is not None
    assert (test.source, test.texts) == ("test.jsonl", 40)
    on_test = manifest.variants[0].proofs[0].test
    assert on_test is not None
    assert on_test.scores == reference.test != reference.dev
    assert candidate.proofs[0].test is None


def test_test_file_of_ones_own(checkpoint_copy: Path, tmp_path: Path) -> None:
    """Other test rows take the place of the training's; it decides nothing that they score badly."""
    write_rows(checkpoint_copy / "predictions" / "test.jsonl", random_texts(40, seed=5))
    mine = write_rows(tmp_path / "mine.jsonl", random_texts(7, seed=6))
    export(checkpoint_copy, tmp_path / "out", test=mine, variants=["fp32"])
    provenance = open_bundle(tmp_path / "out").manifest.provenance
    assert provenance.test is not None
    assert (provenance.dev.texts, provenance.test.source, provenance.test.texts) == (100, "mine.jsonl", 7)


def test_dev_file_of_ones_own(checkpoint_copy: Path, tmp_path: Path) -> None:
    """Other rows, under other column names, take the place of the training's dev rows, and its test rows with them."""
    write_rows(checkpoint_copy / "predictions" / "test.jsonl", random_texts(40, seed=5))
    dev = tmp_path / "mine.csv"
    dev.write_text("body,kind\nw1 w2,positive\nw3,negative\n")
    columns = {"text_column": "body", "label_column": "kind"}
    outcome = export(checkpoint_copy, tmp_path / "out", dev=dev, variants=["fp32"], **columns)
    assert outcome.texts == 2
    provenance = open_bundle(tmp_path / "out").manifest.provenance
    assert (provenance.dev.source, provenance.test) == ("mine.csv", None)


def test_one_row_is_enough(checkpoint_copy: Path, tmp_path: Path) -> None:
    """A checkpoint without rows of its own is proven on those given, be it one."""
    (checkpoint_copy / "predictions" / "dev.jsonl").unlink()
    dev = write_rows(tmp_path / "one.jsonl", ["w1 w2"])
    export(checkpoint_copy, tmp_path / "out", dev=dev)
    assert open_bundle(tmp_path / "out").manifest.provenance.dev.texts == 1


def test_line_separators_within_texts_end_no_row(checkpoint_copy: Path, tmp_path: Path) -> None:
    """A text may hold what Unicode calls a line's end, in the training's rows as in one's own."""
    path = checkpoint_copy / "predictions" / "dev.jsonl"
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    for row in rows:
        row["text"] = row["text"].replace(" ", "\u2028", 1).replace(" ", "\u2029", 1)
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))
    assert export(checkpoint_copy, tmp_path / "out", variants=["fp32"]).texts == 100
    dev = write_rows(tmp_path / "mine.jsonl", ["w1\u2028w2", "w3\u2029w4"])
    assert export(checkpoint_copy, tmp_path / "again", variants=["fp32"], dev=dev).texts == 2
