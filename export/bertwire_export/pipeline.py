"""From checkpoint to bundle: convert, fuse, quantize, prove, publish."""

import json
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from bertwire_client.console import progress, tracked
from bertwire_client.errors import UserError
from bertwire_client.files import require_absent
from bertwire_export.bundle import Limits, Scores
from bertwire_export.checkpoint import Checkpoint, load_checkpoint
from bertwire_export.config import ExportConfig, Precision
from bertwire_export.convert import convert, fuse, input_names, quantize
from bertwire_export.gate import faults
from bertwire_export.measure import Arrays, Logits, cpu_cost, make_batches, onnx_logits, quality, scores, torch_logits
from bertwire_export.optimum import convert_with_optimum, require_environment
from bertwire_export.publish import Candidate, Source, publish
from bertwire_export.serving_tokenizer import require_same_tokens, serving_tokenizer
from bertwire_export.texts import LabelledTexts, read_texts

HELD_OUT = "predictions/dev.jsonl"
# The same weights in fp32 on another machine may turn a label that stood on the edge; no more than that.
_MIN_SAME_AS_TRAINED = 0.99


@dataclass(frozen=True, slots=True)
class Outcome:
    """What an export came to.

    Attributes:
        reference: PyTorch's scores on the dev texts.
        candidates: every variant built, in the order asked for.
        texts: how many dev texts there were.
    """

    reference: Scores
    candidates: list[Candidate]
    texts: int


def run(config: ExportConfig) -> Outcome:
    """Builds the variants and writes a bundle of those that keep their limits; none if none does.

    Raises:
        UserError: the output exists, the checkpoint or the dev texts cannot be used.
    """
    require_absent(config.output, overwrite=config.overwrite)
    if config.converter == "optimum":
        require_environment(config.optimum_python)
    checkpoint = load_checkpoint(config.checkpoint)
    dev = _dev_texts(config, checkpoint)
    inputs = input_names(checkpoint.model)
    training = checkpoint.training
    batches = make_batches(dev.texts, checkpoint.tokenizer, inputs, training.max_length, training.truncation_side)
    positions = getattr(checkpoint.model.config, "max_position_embeddings", training.max_length)
    if training.max_length > positions:
        raise UserError(
            f"{config.checkpoint}: max_length {training.max_length} is above the model's {positions} positions"
        )
    tokenizer = serving_tokenizer(checkpoint)
    require_same_tokens(tokenizer, dev.texts, batches)
    reference = torch_logits(checkpoint.model, batches, tracked)
    if not np.isfinite(reference).all():
        raise UserError(f"{config.checkpoint}: the model's logits are not all finite numbers; train again")
    if config.dev is None:
        _require_trained(checkpoint, reference)
    with tempfile.TemporaryDirectory(prefix="bertwire-export-") as name:
        graphs = Path(name)
        _build(checkpoint, inputs, config, graphs)
        candidates = [
            _measure(graphs, each, _limits(config, each), batches, reference, dev) for each in config.variants
        ]
        outcome = Outcome(scores(reference, dev.labels), candidates, len(dev.texts))
        source = Source(checkpoint, tokenizer, inputs, dev, outcome.reference)
        if kept := [candidate for candidate in candidates if not candidate.faults]:
            publish(config.output, config.model_name, config.version, source, kept, graphs)
    return outcome


def _dev_texts(config: ExportConfig, checkpoint: Checkpoint) -> LabelledTexts:
    labels = checkpoint.training.labels
    if config.dev is not None:
        return read_texts(config.dev, config.text_column, config.label_column, labels)
    held_out = checkpoint.path / HELD_OUT
    if not held_out.is_file():
        raise UserError(f"{held_out} is missing; pass labelled texts with --dev")
    return read_texts(held_out, "text", "label", labels)


def _require_trained(checkpoint: Checkpoint, reference: Logits) -> None:
    """Raises `UserError` where the model does not give the labels that it gave at the end of training.

    A changed configuration or label order would otherwise be proven against itself.
    """
    held_out = (checkpoint.path / HELD_OUT).read_text(encoding="utf-8").splitlines()
    expected = [json.loads(line).get("predicted") for line in held_out]
    found = [checkpoint.training.labels[index] for index in reference.argmax(axis=1)]
    agreed = sum(label == other for label, other in zip(expected, found, strict=True))
    if agreed < _MIN_SAME_AS_TRAINED * len(found):
        raise UserError(
            f"{checkpoint.path} gives {agreed} of {len(found)} dev texts the label it gave after training; "
            "its files were changed since, train again"
        )


def _build(checkpoint: Checkpoint, inputs: list[str], config: ExportConfig, graphs: Path) -> None:
    """Writes `fp32.onnx`, and `int8.onnx` if asked for, into `graphs`."""
    with progress("Convert, fuse, quantize", 3) as bar:
        unfused = graphs / "unfused.onnx"
        if config.converter == "optimum":
            convert_with_optimum(checkpoint.path, checkpoint.training.task, inputs, unfused, config.optimum_python)
        else:
            convert(checkpoint.model, inputs, unfused)
        bar(1)
        fuse(unfused, checkpoint.model, graphs / "fp32.onnx")
        bar(2)
        if Precision.INT8 in config.variants:
            quantize(graphs / "fp32.onnx", graphs / "int8.onnx")
        bar(3)


def _limits(config: ExportConfig, precision: Precision) -> Limits:
    if precision is Precision.FP32:
        # fp32 is the same arithmetic in another order: what it may lose is what its logits and labels may differ.
        return Limits(
            min_label_agreement=config.fp32_min_agreement,
            max_quality_drop=1 - config.fp32_min_agreement,
            max_logit_difference=config.fp32_max_logit_difference,
        )
    return Limits(
        min_label_agreement=config.int8_min_agreement,
        max_quality_drop=config.int8_max_drop,
        max_logit_difference=None,
    )


def _measure(
    graphs: Path, precision: Precision, limits: Limits, batches: list[Arrays], reference: Logits, dev: LabelledTexts
) -> Candidate:
    graph = graphs / f"{precision}.onnx"
    measured = quality(onnx_logits(graph, batches, tracked), reference, dev.labels)
    found = faults(measured, scores(reference, dev.labels), limits)
    return Candidate(precision, measured, limits, cpu_cost(graph, batches, tracked), found)
