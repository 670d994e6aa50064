"""Writes a bundle: the graphs that passed, the tokenizer, and a manifest that says where they came from."""

import platform
import shutil
from dataclasses import dataclass
from importlib.metadata import version as installed_version
from pathlib import Path

from tokenizers import Tokenizer

from bertwire_client.files import whole_folder
from bertwire_export.bundle import Limits, Manifest, Provenance, Quality, Scores, Speed, Variant, add_file, seal
from bertwire_export.checkpoint import TOKENIZER, Checkpoint
from bertwire_export.config import Precision
from bertwire_export.texts import LabelledTexts


@dataclass(frozen=True, slots=True)
class Candidate:
    """A built variant with what was measured of it.

    Attributes:
        precision: fp32 or int8; also its name.
        quality: what it scored on the dev texts.
        limits: what it had to score.
        speed: what it cost.
        faults: the limits it broke; empty where it may be published.
    """

    precision: Precision
    quality: Quality
    limits: Limits
    speed: Speed
    faults: list[str]


@dataclass(frozen=True, slots=True)
class Source:
    """What the candidates were made from and measured on.

    Attributes:
        checkpoint: the fine-tuned model.
        tokenizer: as the server will use it.
        inputs: names of the graphs' inputs.
        dev: the labelled texts.
        reference: PyTorch's scores on them.
    """

    checkpoint: Checkpoint
    tokenizer: Tokenizer
    inputs: list[str]
    dev: LabelledTexts
    reference: Scores


def publish(output: Path, name: str, version: str, source: Source, candidates: list[Candidate], graphs: Path) -> None:
    """Writes the bundle of `candidates`, whose files lie in `graphs`, to `output`, whole or not at all."""
    training = source.checkpoint.training
    fastest_first = sorted(candidates, key=lambda each: each.speed.cpu_ms_per_text)
    with whole_folder(output) as folder:
        source.tokenizer.save(str(folder / TOKENIZER))
        for candidate in candidates:
            shutil.move(graphs / f"{candidate.precision}.onnx", folder)
        manifest = Manifest(
            schema_version=1,
            name=name,
            version=version,
            task=training.task,
            labels=tuple(training.labels),
            max_length=training.max_length,
            truncation_side=training.truncation_side,
            pad_token_id=source.checkpoint.tokenizer.pad_token_id,
            tokenizer=add_file(folder, TOKENIZER),
            variants=tuple(_variant(candidate, source.inputs, folder) for candidate in fastest_first),
            provenance=_provenance(source),
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


def _provenance(source: Source) -> Provenance:
    packages = ("bertwire", "torch", "transformers", "onnx", "onnxruntime", "tokenizers")
    return Provenance(
        base_model=source.checkpoint.training.base_model,
        checkpoint_sha256=source.checkpoint.weights_sha256,
        training_sha256=source.checkpoint.training_sha256,
        dev=source.dev.split(),
        reference=source.reference,
        versions={"python": platform.python_version()} | {name: installed_version(name) for name in packages},
    )
