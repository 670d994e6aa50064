"""From checkpoint to bundle: convert, fuse, quantize, prove, seal."""

import platform
import shutil
import tempfile
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from tokenizers import Tokenizer

from bertwire_client.console import progress, tracked
from bertwire_client.errors import UserError
from bertwire_client.files import require_absent, whole_folder
from bertwire_export.bundle import Limits, Manifest, Provenance, Quality, Scores, Speed, Variant, add_file, seal
from bertwire_export.checkpoint import TOKENIZER, Checkpoint, load_checkpoint
from bertwire_export.config import ExportConfig, Precision
from bertwire_export.convert import convert, fuse, input_names, quantize
from bertwire_export.gate import faults
from bertwire_export.measure import Arrays, Logits, cpu_cost, make_batches, onnx_logits, quality, scores, torch_logits
from bertwire_export.serving_tokenizer import require_same_tokens, serving_tokenizer
from bertwire_export.texts import LabelledTexts, read_texts


@dataclass(frozen=True, slots=True)
class Candidate:
    """A built variant with what was measured of it.

    Attributes:
        precision: fp32 or int8; also its name.
        quality: what it scored on the dev texts.
        limits: what it had to score.
        speed: what it cost.
        faults: the limits it broke; empty where it is published.
    """

    precision: Precision
    quality: Quality
    limits: Limits
    speed: Speed
    faults: list[str]


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
    checkpoint = load_checkpoint(config.checkpoint)
    dev = _dev_texts(config, checkpoint)
    inputs = input_names(checkpoint.model)
    training = checkpoint.training
    batches = make_batches(dev.texts, checkpoint.tokenizer, inputs, training.max_length, training.truncation_side)
    tokenizer = serving_tokenizer(checkpoint)
    require_same_tokens(tokenizer, dev.texts, batches)
    reference = torch_logits(checkpoint.model, batches, tracked)
    with tempfile.TemporaryDirectory(prefix="bertwire-export-") as name:
        work = Path(name)
        _build(checkpoint, inputs, config.variants, work)
        candidates = [
            _measure(work, precision, _limits(config, precision), batches, reference, dev.labels)
            for precision in config.variants
        ]
        outcome = Outcome(scores(reference, dev.labels), candidates, len(dev.texts))
        published = [candidate for candidate in candidates if not candidate.faults]
        if published:
            _publish(config, checkpoint, tokenizer, dev, inputs, outcome.reference, published, work)
    return outcome


def _dev_texts(config: ExportConfig, checkpoint: Checkpoint) -> LabelledTexts:
    labels = checkpoint.training.labels
    if config.dev is not None:
        return read_texts(config.dev, config.text_column, config.label_column, labels)
    held_out = checkpoint.path / "predictions" / "dev.jsonl"
    if not held_out.is_file():
        raise UserError(f"{held_out} is missing; pass labelled texts with --dev")
    return read_texts(held_out, "text", "label", labels)


def _build(checkpoint: Checkpoint, inputs: list[str], variants: list[Precision], work: Path) -> None:
    """Writes `fp32.onnx`, and `int8.onnx` if asked for, into `work`."""
    with progress("Convert, fuse, quantize", 3) as bar:
        convert(checkpoint.model, inputs, work / "unfused.onnx")
        bar(1)
        fuse(work / "unfused.onnx", checkpoint.model, work / "fp32.onnx")
        bar(2)
        if Precision.INT8 in variants:
            quantize(work / "fp32.onnx", work / "int8.onnx")
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
    work: Path, precision: Precision, limits: Limits, batches: list[Arrays], reference: Logits, labels: list[int]
) -> Candidate:
    graph = work / f"{precision}.onnx"
    measured = quality(onnx_logits(graph, batches, tracked), reference, labels)
    found = faults(measured, scores(reference, labels), limits)
    return Candidate(precision, measured, limits, cpu_cost(graph, batches), found)


def _publish(
    config: ExportConfig,
    checkpoint: Checkpoint,
    tokenizer: Tokenizer,
    dev: LabelledTexts,
    inputs: list[str],
    reference: Scores,
    published: list[Candidate],
    work: Path,
) -> None:
    training = checkpoint.training
    with whole_folder(config.output) as folder:
        tokenizer.save(str(folder / TOKENIZER))
        for candidate in published:
            shutil.move(work / f"{candidate.precision}.onnx", folder)
        manifest = Manifest(
            schema_version=1,
            name=config.model_name,
            version=config.version,
            task=training.task,
            labels=tuple(training.labels),
            max_length=training.max_length,
            truncation_side=training.truncation_side,
            pad_token_id=checkpoint.tokenizer.pad_token_id,
            tokenizer=add_file(folder, TOKENIZER),
            variants=tuple(
                _variant(candidate, inputs, folder)
                for candidate in sorted(published, key=lambda each: each.speed.cpu_ms_per_text)
            ),
            provenance=Provenance(
                base_model=training.base_model,
                checkpoint_sha256=checkpoint.weights_sha256,
                training_sha256=checkpoint.training_sha256,
                dev=dev.split(),
                reference=reference,
                versions=_versions(),
            ),
        )
        seal(folder, manifest)


def _variant(candidate: Candidate, inputs: list[str], folder: Path) -> Variant:
    precision = candidate.precision
    return Variant(
        name=precision.value,
        file=add_file(folder, f"{precision}.onnx"),
        # ONNX Runtime's CUDA provider has no int8 kernels worth using: it would run them node by node on the CPU.
        providers=("cpu", "cuda") if precision is Precision.FP32 else ("cpu",),
        precision=precision.value,
        layout="padded",
        inputs=tuple(inputs),
        quality=candidate.quality,
        limits=candidate.limits,
        speed=candidate.speed,
    )


def _versions() -> dict[str, str]:
    packages = ("bertwire", "torch", "transformers", "onnx", "onnxruntime", "tokenizers")
    return {"python": platform.python_version()} | {name: version(name) for name in packages}
