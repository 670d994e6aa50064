"""What export refuses, in one line and without touching anything."""

import json
from pathlib import Path
from typing import Any

import pytest

from bertwire_core.errors import UserError
from bertwire_export import pipeline
from bertwire_export.config import ExportConfig
from bertwire_export.publish import choose
from bertwire_runtime.bundle import open_bundle
from bertwire_runtime.session import cuda_fault
from graphs import export


def refusal(checkpoint: Path, output: Path, **options: Any) -> str:  # noqa: ANN401 - any option of the command
    """Exports what must be refused and gives the reason, which is one line; nothing may be written."""
    before = sorted(output.parent.rglob("*"))
    with pytest.raises(UserError) as caught:
        export(checkpoint, output, **options)
    assert sorted(output.parent.rglob("*")) == before
    assert "\n" not in str(caught.value)
    return str(caught.value)


def edit(path: Path, **changes: object) -> None:
    """Changes fields of a JSON file."""
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("text,label\nw1,unheard\n", "dev.csv has label 'unheard', which train lacks, in 1 row, first in row 1"),
        ("text,kind\nw1,positive\n", "has no column 'label'; it has 'text', 'kind'"),
        ("text,label\n", "has no rows"),
        ("text,label\nw1,positive\n ,positive\n", "1 row (row 2): an empty, blank or null value in column 'text'"),
        ("text,label\nw1\n", "1 row (row 1): the row has 1 fields where the header has 2"),
        ("", "is empty"),
        ("text,text_pair,label\nw1,w2,positive\n", "the model reads single texts; remove the column 'text_pair'"),
    ],
)
def test_refuses_bad_rows(checkpoint: Path, tmp_path: Path, content: str, reason: str) -> None:
    """Labelled texts that cannot prove anything are refused with the row and the reason, as dev and as test."""
    rows = tmp_path / "dev.csv"
    rows.write_text(content)
    assert reason in refusal(checkpoint, tmp_path / "out", dev=rows)
    assert reason in refusal(checkpoint, tmp_path / "out", test=rows)


def test_refuses_missing_rows(checkpoint_copy: Path, tmp_path: Path) -> None:
    """Without rows there is no proof: the file that is missing is named, and the option that takes another."""
    (checkpoint_copy / "predictions" / "dev.jsonl").unlink()
    reason = refusal(checkpoint_copy, tmp_path / "out")
    assert reason.endswith("dev.jsonl is missing; pass labelled rows with --dev")


def test_existing_outputs_are_replaced_only_if_told(checkpoint: Path, tmp_path: Path) -> None:
    """A bundle or a report that exists is not touched unless told so, and then each is replaced as a whole."""
    output, report = tmp_path / "out", tmp_path / "out.report.html"
    report.write_text("precious")
    assert "out.report.html exists already" in refusal(checkpoint, output)
    output.mkdir()
    (output / "mine").write_text("precious")
    reason = "out is no bundle, and --overwrite replaces nothing else"
    assert reason in refusal(checkpoint, output, overwrite=True)
    for name in ("manifest.json", "manifest.sha256"):
        (output / name).touch()
    assert "out exists already; choose another output or pass --overwrite" in refusal(checkpoint, output)
    assert ((output / "mine").read_text(), report.read_text()) == ("precious", "precious")
    export(checkpoint, output, overwrite=True, variants=["fp32"])
    assert [each.name for each in open_bundle(output).manifest.variants] == ["fp32-packed"]
    assert open_bundle(output).sha256 in report.read_text()
    assert sorted(each.name for each in tmp_path.iterdir()) == ["out", "out.report.html"]


def test_existing_outputs_stay_when_nothing_passes(checkpoint: Path, tmp_path: Path) -> None:
    """An export that publishes nothing does not take away what it would have replaced."""
    (tmp_path / "out").mkdir()
    kept = ["manifest.json", "manifest.sha256", "mine", "out"]
    for name in kept[:3]:
        (tmp_path / "out" / name).write_text("precious")
    export(checkpoint, tmp_path / "out", overwrite=True, variants=["fp32"], fp32_max_logit_difference=0)
    assert sorted(path.name for path in tmp_path.rglob("*")) == kept


def test_refuses_to_replace_what_it_reads(checkpoint_copy: Path, tmp_path: Path) -> None:
    """The output may be neither the checkpoint nor a folder that holds it or the rows, told to overwrite or not."""
    (tmp_path / "rows").mkdir()
    rows = tmp_path / "rows" / "mine.csv"
    rows.write_text("text,label\nw1,positive\n")
    for output, options, reason in (
        (checkpoint_copy, {}, "which it would replace"),
        (tmp_path, {}, "would be lost with it"),
        (checkpoint_copy / "predictions", {"dev": checkpoint_copy / "predictions" / "dev.jsonl"}, "would be lost"),
        (rows.parent, {"dev": rows}, "would be lost with it"),
        (rows.parent, {"test": rows}, "would be lost with it"),
    ):
        assert reason in refusal(checkpoint_copy, output, overwrite=True, **options)


def test_refuses_fp16_without_cuda(checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A precision that this machine cannot run, and so not prove, is refused with those that it can."""
    monkeypatch.setattr(pipeline, "available_providers", lambda: ["cpu"])
    reason = refusal(checkpoint, tmp_path / "out", variants=["fp32", "fp16"])
    assert reason == f"--variants fp16 cannot be built: {cuda_fault()}. This machine can build fp32, int8"


@pytest.mark.parametrize("name", ["training.json", "config.json", "model.safetensors", "tokenizer.json"])
def test_refuses_incomplete_checkpoint(checkpoint_copy: Path, tmp_path: Path, name: str) -> None:
    """A checkpoint that lacks a file is named as such."""
    (checkpoint_copy / name).unlink()
    assert f"has no {name}" in refusal(checkpoint_copy, tmp_path / "out")


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("training.json", "{}", "training.json is wrong at schema_version"),
        ("training.json", "nonsense", "training.json is wrong"),
        ("config.json", "nonsense", "config.json is not JSON"),
        ("config.json", "[]", "config.json holds no JSON object"),
        (
            "config.json",
            '{"model_type": "bert", "auto_map": {"AutoModel": "code.Model"}}',
            "auto_map, which can run code",
        ),
        ("model.safetensors", "nonsense", "cannot be loaded"),
        ("tokenizer.json", "nonsense", "cannot be loaded"),
        ("model.safetensors", "version https://git-lfs.github.com/spec/v1\n", "is a Git LFS pointer and not the file"),
        ("predictions/dev.jsonl", "nonsense", "1 row (row 1): the line is not JSON"),
    ],
)
def test_refuses_damaged_checkpoint(
    checkpoint_copy: Path, tmp_path: Path, name: str, content: str, reason: str
) -> None:
    """A checkpoint with a wrong file is refused in one line."""
    (checkpoint_copy / name).write_text(content)
    assert reason in refusal(checkpoint_copy, tmp_path / "out")


def test_refuses_weights_that_are_no_numbers(checkpoint_copy: Path, tmp_path: Path) -> None:
    """A checkpoint whose training diverged is named as such, not passed on to the quantizer."""
    from safetensors.torch import load_file, save_file

    weights = load_file(checkpoint_copy / "model.safetensors")
    weights["classifier.bias"][0] = float("nan")
    save_file(weights, checkpoint_copy / "model.safetensors", metadata={"format": "pt"})
    assert "not all finite numbers" in refusal(checkpoint_copy, tmp_path / "out")


def test_refuses_missing_weights(checkpoint_copy: Path, tmp_path: Path) -> None:
    """Weights that the file lacks are not made up: random ones would agree with themselves perfectly."""
    from safetensors.torch import load_file, save_file

    path = checkpoint_copy / "model.safetensors"
    save_file(
        {key: value for key, value in load_file(path).items() if "layer.1" not in key}, path, metadata={"format": "pt"}
    )
    reason = refusal(checkpoint_copy, tmp_path / "out")
    assert "does not fit config.json: missing keys bert.encoder.layer.1" in reason


@pytest.mark.parametrize("own_rows", [False, True])
def test_refuses_changed_model(checkpoint_copy: Path, tmp_path: Path, own_rows: bool) -> None:
    """A model that decides otherwise than after training is not proven against itself, nor on other rows."""
    edit(checkpoint_copy / "config.json", num_attention_heads=1)
    rows = tmp_path / "mine.csv"
    rows.write_text("text,label\nw1,positive\n")
    reason = refusal(checkpoint_copy, tmp_path / "out", **({"dev": rows} if own_rows else {}))
    assert "of 100 dev rows as it did after training; its files were changed since, train again" in reason


def test_refuses_rows_without_predictions(checkpoint_copy: Path, tmp_path: Path) -> None:
    """Rows that do not say what the trained model decided cannot show that this is it."""
    path = checkpoint_copy / "predictions" / "dev.jsonl"
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    path.write_text("".join(json.dumps({"text": row["text"], "label": row["label"]}) + "\n" for row in rows))
    assert "has rows without predictions" in refusal(checkpoint_copy, tmp_path / "out")


def test_refuses_labels_that_differ(checkpoint_copy: Path, tmp_path: Path) -> None:
    """Labels of the config and of the training must be the same, in the same order."""
    path = checkpoint_copy / "training.json"
    edit(path, labels=json.loads(path.read_text())["labels"][::-1])
    assert "different labels" in refusal(checkpoint_copy, tmp_path / "out")


def test_refuses_more_tokens_than_positions(checkpoint_copy: Path, tmp_path: Path) -> None:
    """A length that the model has no positions for would fail in the server."""
    edit(checkpoint_copy / "training.json", max_length=65)
    assert "max_length 65 is above the model's 64 positions" in refusal(checkpoint_copy, tmp_path / "out")


@pytest.mark.parametrize("name", ["a b", "-x", "a/b", "x" * 65, "ü"])
def test_refuses_unusable_model_name(name: str) -> None:
    """A model's name must fit into a request, a metric and a folder."""
    with pytest.raises(ValueError, match="cannot be a model's name"):
        ExportConfig(checkpoint=Path("c"), output=Path("o"), name=name)


def test_report_that_is_a_folder_is_noticed_first(checkpoint: Path, tmp_path: Path) -> None:
    """A report that could not be written at the end is refused at the start."""
    (tmp_path / "out.report.html").mkdir()
    assert "out.report.html is a folder" in refusal(checkpoint, tmp_path / "out", overwrite=True)


def test_output_that_came_meanwhile_stays(checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What appears at the output while export works is not replaced without --overwrite."""

    def slow(*arguments: Any, **options: Any) -> Any:  # noqa: ANN401 - as choose
        (tmp_path / "out").mkdir()
        (tmp_path / "out" / "mine").touch()
        return choose(*arguments, **options)

    monkeypatch.setattr(pipeline, "choose", slow)
    with pytest.raises(UserError, match="out exists already"):
        export(checkpoint, tmp_path / "out", variants=["fp32"])
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["mine", "out"]


def test_refuses_adapters(checkpoint_copy: Path, tmp_path: Path) -> None:
    """An adapter would bring the weights of a model that was not trained here."""
    (checkpoint_copy / "adapter_config.json").write_text("{}")
    assert "has an adapter_config.json" in refusal(checkpoint_copy, tmp_path / "out")


def test_refuses_tokenizer_without_special_tokens(checkpoint_copy: Path, tmp_path: Path) -> None:
    """A text of nothing that the tokenizer knows would have no token to be classified by."""
    edit(checkpoint_copy / "tokenizer.json", post_processor=None)
    assert "adds no special tokens" in refusal(checkpoint_copy, tmp_path / "out")


def test_says_what_was_not_checked(checkpoint_copy: Path, tmp_path: Path) -> None:
    """Without the predictions of the training nothing shows that the model is as it was, and the user is told."""
    (tmp_path / "dev.csv").write_text("text,label\nw1 w2,positive\nw3,negative\n")
    (checkpoint_copy / "predictions" / "dev.jsonl").unlink()
    outcome = export(checkpoint_copy, tmp_path / "out", dev=tmp_path / "dev.csv", variants=["fp32"])
    assert outcome.notes[0].endswith("that it decides as after training was not checked")
