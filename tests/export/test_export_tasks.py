"""Every task from a file through training and export to a proven bundle, on a tiny checkpoint."""

import json
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnxruntime
import pytest

from bertwire_core.errors import UserError
from bertwire_data.labelled import Columns, read_labelled
from bertwire_export.checkpoint import load_checkpoint
from bertwire_export.config import ExportConfig
from bertwire_export.examples import encode
from bertwire_export.pipeline import run
from bertwire_export.reference import split_reference
from bertwire_export.serving_tokenizer import serving_tokenizer
from bertwire_export.trained import held_out, recorded_logits
from bertwire_runtime.bundle import open_bundle
from bertwire_runtime.layouts import arrange, variant_layout
from rows import LABELS, LIMITS, MAX_LENGTH, ROWS, Made, Row, filler, numbered, paired, several, tagged, write
from support import bertwire, in_process


def test_manifest_is_of_the_task(made: Made) -> None:
    """Task, labels, pairs and calibration are those of the checkpoint."""
    manifest, calibration = made.manifest, made.manifest.calibration
    assert (manifest.task, manifest.text_pairs) == (made.task, made.kind == "pairs")
    assert manifest.labels == LABELS[made.kind]
    assert calibration.temperature == 1  # fitted for one label alone, and there all of dev is right
    assert len(calibration.thresholds) == (3 if made.kind == "multi_label" else 0)
    assert (calibration.ece_before is None) == (made.kind == "regression")
    if made.kind == "multi_label":
        # 2 of 40 dev texts have the label: too few to choose by.
        assert calibration.thresholds[2] == 0.5
        assert set(calibration.thresholds[:2]) != {0.5}


def test_every_precision_is_proven(made: Made) -> None:
    """fp32 is PyTorch's to rounding, int8 is measured, each with the task's scores on dev and test."""
    manifest, reference = made.manifest, made.manifest.provenance.reference
    assert {each.precision for each in manifest.variants} == {"fp32", "int8"}
    everything = {each.name: each for each in (*manifest.variants, *manifest.candidates)}
    assert everything.keys() == {"fp32-packed", "int8-packed"}
    for name, each in everything.items():
        (proof,) = each.proofs
        assert list(proof.dev.scores) == list(reference.dev)
        assert (proof.dev.label_agreement is None) == (made.kind == "regression")
        if name.startswith("fp32"):
            assert proof.dev.max_logit_difference < 1e-4
            assert proof.dev.label_agreement in (None, 1.0)
            assert proof.dev.scores == pytest.approx(reference.dev, abs=1e-4)
    assert reference.test is not None
    for each in manifest.variants:
        assert each.proofs[0].test is not None
        assert list(each.proofs[0].test.scores) == list(reference.test)


def test_reference_is_what_training_scored(made: Made) -> None:
    """PyTorch's scores are those of the end of training, but for labels whose thresholds export has chosen."""
    metrics = json.loads((made.checkpoint / "training.json").read_text())["metrics"]["dev"]
    reference = made.manifest.provenance.reference.dev
    if made.kind == "multi_label":
        assert reference["micro_f1"] >= metrics["micro_f1"]
    else:
        assert reference == pytest.approx({name: metrics[name] for name in reference}, abs=1e-4)


def test_recorded_logits_stand_while_pytorch_gives_them(made: Made) -> None:
    """What the trainer wrote down is not computed again, unless PyTorch gives others now or the rows are others."""
    checkpoint = load_checkpoint(made.checkpoint)
    labels = checkpoint.training.labels
    labelled = read_labelled(held_out(made.checkpoint, "dev"), Columns(), made.task)
    examples = encode(serving_tokenizer(checkpoint), labelled, labels)
    recorded = recorded_logits(checkpoint, "dev", examples)
    assert recorded is not None
    nudged, wrong = recorded + np.float32(5e-5), recorded.copy()
    wrong[::7] += 0.01
    assert np.shares_memory(split_reference(checkpoint, examples, nudged).logits, nudged)
    np.testing.assert_allclose(split_reference(checkpoint, examples, wrong).logits, recorded, atol=1e-5)
    fewer = examples.take(range(1, len(labelled)))
    assert recorded_logits(checkpoint, "dev", fewer) is None
    np.testing.assert_allclose(
        split_reference(checkpoint, fewer, None).logits, recorded[examples.rows(range(1, 40))], atol=1e-5
    )


def test_packed_graph_equals_pytorch(made: Made) -> None:
    """The published fp32 graph gives, for texts in one batch, what transformers' model gives each of them alone."""
    import torch
    from tokenizers import Tokenizer
    from transformers import AutoModelForSequenceClassification, AutoModelForTokenClassification

    manifest = made.manifest
    variant = next(each for each in manifest.variants if each.precision == "fp32")
    by_token = made.kind == "token_classification"
    kind = AutoModelForTokenClassification if by_token else AutoModelForSequenceClassification
    model = kind.from_pretrained(made.checkpoint).eval()
    tokenizer = Tokenizer.from_file(str(made.bundle / "tokenizer.json"))
    rows = [ROWS[made.kind](number) for number in range(200, 230)]
    texts = [
        (row["text"], row["text_pair"]) if "text_pair" in row else row.get("text", row.get("tokens")) for row in rows
    ]
    encodings = tokenizer.encode_batch(texts, is_pretokenized=by_token)
    assert max(len(each.ids) for each in encodings) == (MAX_LENGTH if by_token else max(map(len, encodings)))
    layout = variant_layout(manifest, variant)
    session = onnxruntime.InferenceSession(made.bundle / variant.file.name, providers=["CPUExecutionProvider"])
    arrays = arrange(encodings, layout)
    found = session.run(["logits"], {each.name: arrays[each.name] for each in session.get_inputs()})[0]
    for encoding, logits in zip(encodings, layout.by_text(found, [len(each.ids) for each in encodings]), strict=True):
        ids, types = torch.tensor([encoding.ids]), torch.tensor([encoding.type_ids])
        with torch.inference_mode():
            expected = model(input_ids=ids, token_type_ids=types).logits[0].numpy()
        np.testing.assert_allclose(logits, expected, atol=1e-4)


def test_report_and_inspect_show_the_task(made: Made) -> None:
    """The report lies beside the bundle, and `bertwire inspect` prints task, labels and scores in 80 columns."""
    page = made.bundle.with_name("bundle.report.html").read_text(encoding="utf-8")
    assert made.task in page
    assert made.manifest.labels[-1] in page
    environment = os.environ | {"COLUMNS": "80"}
    command = bertwire("inspect", made.bundle)
    shown = subprocess.run(command, capture_output=True, text=True, check=True, env=environment).stdout
    assert f"{made.task}, pairs of texts" in shown if made.kind == "pairs" else made.task in shown
    assert f"{len(made.manifest.labels)}: {', '.join(made.manifest.labels)}" in shown
    assert "Variants, on test texts" in shown
    assert max(map(len, shown.splitlines())) <= 80
    document = json.loads(in_process("inspect", made.bundle, "--json").stdout)
    assert document["task"] == made.task


def test_changed_weights_are_noticed(made: Made, tmp_path: Path) -> None:
    """A model that decides otherwise than after training is not proven against itself, whatever its task."""
    from safetensors.torch import load_file, save_file

    copy = Path(shutil.copytree(made.checkpoint, tmp_path / "checkpoint"))
    weights = load_file(copy / "model.safetensors")
    weights["classifier.weight"] *= -1
    save_file(weights, copy / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(UserError, match=r"decides \d+ of \d+ dev rows as it did after training"):
        run(ExportConfig(checkpoint=copy, output=tmp_path / "out"))
    assert not (tmp_path / "out").exists()


def test_changed_weights_are_noticed_with_own_rows(made: Made, tmp_path: Path) -> None:
    """--dev does not excuse a changed model: the training's dev rows are looked at all the same."""
    from safetensors.torch import load_file, save_file

    copy = Path(shutil.copytree(made.checkpoint, tmp_path / "checkpoint"))
    weights = load_file(copy / "model.safetensors")
    weights["classifier.weight"] *= -1
    save_file(weights, copy / "model.safetensors", metadata={"format": "pt"})
    dev = write(tmp_path / "dev.jsonl", ROWS[made.kind], range(300, 320))
    with pytest.raises(UserError, match="its files were changed since, train again"):
        run(ExportConfig(checkpoint=copy, output=tmp_path / "out", dev=dev))


def test_own_rows_by_the_task_of_the_model(made: Made, tmp_path: Path) -> None:
    """--dev and --test of one's own are read for the model's task and stand in the manifest."""
    dev = write(tmp_path / "mine.jsonl", ROWS[made.kind], range(300, 330))
    test = write(tmp_path / "more.jsonl", ROWS[made.kind], range(330, 350))
    limits = {**LIMITS, "variants": ["fp32"], "quick": True}
    run(ExportConfig(checkpoint=made.checkpoint, output=tmp_path / "out", dev=dev, test=test, **limits))
    provenance = open_bundle(tmp_path / "out").manifest.provenance
    assert provenance.test is not None
    assert [(each.source, each.texts) for each in (provenance.dev, provenance.test)] == [
        ("mine.jsonl", 30),
        ("more.jsonl", 20),
    ]


def test_refuses_rows_of_another_task(made: Made, tmp_path: Path) -> None:
    """Rows of every other task than the model's are refused in one line that says what is amiss."""
    for kind, row in ROWS.items():
        if kind != made.kind and {kind, made.kind} != {"regression", "pairs"}:
            dev = write(tmp_path / f"{kind}.jsonl", row, range(300, 310))
            with pytest.raises(UserError, match=r"has no column '(labels|label|tags|text)'") as caught:
                run(ExportConfig(checkpoint=made.checkpoint, output=tmp_path / "out", dev=dev))
            assert "\n" not in str(caught.value)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("made", ["pairs", "regression"], indirect=True)
def test_refuses_pairs_for_single_texts_and_the_reverse(made: Made, tmp_path: Path) -> None:
    """A model of pairs needs pairs, one of single texts is not given two."""

    def row(number: int) -> Row:
        label = {"label": "yes"} if made.kind == "pairs" else {"text_pair": "w1", "label": 0.5}
        return {"text": filler(number)} | label

    dev = write(tmp_path / "dev.jsonl", row, range(10))
    pairs = "the model reads pairs of texts; choose the second text with --text-pair-column"
    single = "the model reads single texts; remove the column 'text_pair'"
    with pytest.raises(UserError, match=pairs if made.kind == "pairs" else single):
        run(ExportConfig(checkpoint=made.checkpoint, output=tmp_path / "out", dev=dev))


@pytest.mark.parametrize(
    ("row", "options", "words"),
    [
        (several, ("--task", "regression"), "has no column 'label'"),
        (several, ("--task", "regression", "--label-column", "labels"), "a label that is no finite number"),
        (several, ("--task", "token_classification"), "has no column 'tags'"),
        (numbered, ("--task", "multi_label", "--label-column", "label"), "no list of labels in column 'label'"),
        (tagged, ("--task", "single_label"), "has no column 'text'"),
        (tagged, ("--task", "token_classification", "--text-column", "tags", "--label-column", "tokens"), "a tag that"),
        (paired, ("--text-pair-column", "hypothesis"), "has no column 'hypothesis'"),
    ],
)
def test_train_refuses_task_that_does_not_fit(
    task_base: Path, tmp_path: Path, row: Callable[[int], Row], options: tuple[str, ...], words: str
) -> None:
    """A --task that the columns do not hold is refused in one line."""
    train = write(tmp_path / "train.jsonl", row, range(20))
    done = in_process("train", "--train", train, "--output", tmp_path / "out", "--model", task_base, *options)
    (line,) = [each for each in done.stderr.splitlines() if each.startswith("bertwire: error: ")]
    assert words in line
    assert (done.exit_code, "Traceback" in done.stderr) == (1, False)
