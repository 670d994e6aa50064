"""Make a bundle of a checkpoint: convert, build candidates, prove them, publish the best."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import onnxruntime
from tokenizers import Tokenizer

from bertwire_core.console import progress
from bertwire_core.errors import UserError, first_line
from bertwire_core.files import in_use, require_absent, require_apart, require_own, scratch_folder
from bertwire_core.tasks import ServedTask
from bertwire_export.baseline import Baseline
from bertwire_export.candidates import Built, Recipe, Workshop
from bertwire_export.checkpoint import Checkpoint, load_checkpoint, with_vectors
from bertwire_export.config import ExportConfig, Precision
from bertwire_export.convert import convert, input_names
from bertwire_export.encoder import is_encoder, load_encoder, source_folder
from bertwire_export.evidence import collect_evidence, vector_evidence
from bertwire_export.optimum import convert_with_optimum, require_environment
from bertwire_export.packed.weights import Encoder, NotPackable, read_encoder
from bertwire_export.prove import Proven, prove, prove_on_test
from bertwire_export.publish import Source, choose, publish
from bertwire_export.reference import Reference
from bertwire_export.report import write_report
from bertwire_export.ruled import measure_rules, read_rule_file
from bertwire_export.serving_tokenizer import serving_tokenizer
from bertwire_export.splits import read_splits
from bertwire_export.trained import held_out
from bertwire_export.vectors import VectorReference, read_vectors
from bertwire_runtime.bundle import GateLimits, Manifest, Provider, open_bundle
from bertwire_runtime.bundle import Reference as ReferenceScores
from bertwire_runtime.bundle.manifest import MANIFEST, SEAL
from bertwire_runtime.session import PROVIDERS, cuda_fault

# Most bytes of weights: protobuf, and so an ONNX graph with its weights inside, holds 2 GiB, less room for the graph.
_MOST_BYTES = 2**31 - 2**24


@dataclass(frozen=True)
class Outcome:
    """The outcome of an export.

    Attributes:
        task: what the model is for.
        manifest: the bundle's manifest; None where no variant kept its limits and nothing was written.
        reference: PyTorch's scores.
        proven: every candidate with its proofs.
        texts: number of texts that they were proven on.
        notes: how the rows were read, why no candidate is packed, which do not run on CUDA, which checks were left out;
            one line each.
    """

    task: ServedTask
    manifest: Manifest | None
    reference: ReferenceScores
    proven: list[Proven]
    texts: int
    notes: list[str]


def run(config: ExportConfig) -> Outcome:
    """Build candidates, prove them, and write a bundle of the best; none if none keeps its limits.

    Raises:
        UserError: the output exists, the checkpoint, the dev rows or the rules cannot be used.
    """
    inputs = (config.dev, config.test, config.rules, *config.texts)
    require_apart(config.output, source_folder(config.checkpoint), *(path for path in inputs if path))
    with in_use(config.output):
        return _run(config)


def _run(config: ExportConfig) -> Outcome:
    _require_place(config)
    if config.converter == "optimum":
        require_environment(config.optimum_python)
    providers = available_providers()
    precisions = _precisions(config.variants, providers)
    checkpoint = _load(config)
    _require_size(checkpoint)
    rules = read_rule_file(config.rules, checkpoint.training.task, checkpoint.training.labels)
    tokenizer = serving_tokenizer(checkpoint)
    reference = _reference(config, checkpoint, tokenizer)
    encoder, unpacked = _encoder(config, checkpoint)
    with scratch_folder(config.output) as folder:
        # Every second text: the other half proves int8 on texts that its activation ranges were not measured on.
        range_texts = reference.encodings[::2]
        workshop = Workshop(checkpoint, encoder, range_texts, folder, partial(_convert, config, checkpoint))
        proven, failures = _prove(config, workshop, reference, precisions, providers)
        notes = [*reference.remarks, *([unpacked] if unpacked else []), *workshop.notes, *failures]
        if "cuda" not in providers and PROVIDERS["cuda"] in onnxruntime.get_available_providers():
            notes.append(f"nothing is proven on CUDA: {cuda_fault()}")
        if checkpoint.training.labels and not held_out(checkpoint.path, "dev").is_file():
            notes.append(f"{config.checkpoint} has no predictions: that it decides as after training was not checked")
        chosen = choose(proven, force=config.force)
        proven = [prove_on_test(each, reference) if each.built.name in chosen else each for each in proven]
        if not chosen:
            return Outcome(reference.task, None, reference.scores, proven, reference.splits["dev"].texts, notes)
        ruled = measure_rules(rules, reference) if isinstance(reference, Reference) else None
        source = Source(config.model_name, config.version, checkpoint, tokenizer, config.converter, reference, ruled)
        publish(config.output, source, proven, chosen, overwrite=config.overwrite)
        bundle = open_bundle(config.output)
        if isinstance(reference, Reference):
            evidence = collect_evidence(bundle, tokenizer, reference, proven, rules.rules.rules if rules else ())
        else:
            evidence = vector_evidence(bundle, tokenizer, reference)
    write_report(config.report, bundle.manifest, evidence, seal=bundle.sha256)
    return Outcome(reference.task, bundle.manifest, reference.scores, proven, reference.splits["dev"].texts, notes)


def _load(config: ExportConfig) -> Checkpoint:
    if is_encoder(source_folder(config.checkpoint)):
        config.require_for_encoder()
        return load_encoder(config)
    config.require_for_trained()
    checkpoint = load_checkpoint(config.checkpoint)
    return with_vectors(checkpoint) if config.vectors else checkpoint


def _reference(config: ExportConfig, checkpoint: Checkpoint, tokenizer: Tokenizer) -> Reference | VectorReference:
    if checkpoint.training.labels:
        return read_splits(config, checkpoint, tokenizer)
    return read_vectors(config, checkpoint, tokenizer)


def _require_place(config: ExportConfig) -> None:
    """Raise `UserError` where the bundle or its report could not be written at the end."""
    require_absent(config.output, overwrite=config.overwrite)
    require_absent(config.report, overwrite=config.overwrite)
    if config.report.is_dir():
        raise UserError(f"{config.report} is a folder, and the report would go there; move it or choose another output")
    require_own(config.output, {MANIFEST, SEAL}, "bundle")


def available_providers() -> list[Provider]:
    """Return the providers that ONNX Runtime can use on this machine."""
    return ["cpu"] if cuda_fault() else ["cpu", "cuda"]


def _require_size(checkpoint: Checkpoint) -> None:
    size = sum(each.numel() * each.element_size() for each in checkpoint.model.state_dict().values())
    if size > _MOST_BYTES:
        raise UserError(
            f"{checkpoint.path} has {size / 1e9:.1f} GB of weights in fp32, and an ONNX file holds 2; "
            "train a smaller model"
        )


def _precisions(asked: list[Precision], providers: list[Provider]) -> list[Precision]:
    able = [each for each in Precision if set(each.providers) & set(providers)]
    if missing := [each for each in asked if each not in able]:
        raise UserError(
            f"--variants {missing[0]} cannot be built: {cuda_fault()}. This machine can build {', '.join(able)}"
        )
    return asked or able


def _encoder(config: ExportConfig, checkpoint: Checkpoint) -> tuple[Encoder | None, str | None]:
    if config.converter != "torch":
        return None, f"every graph computes padding: {config.converter} makes padded ones"
    try:
        return replace(read_encoder(checkpoint.model), both=checkpoint.both), None
    except NotPackable as error:
        return None, f"every graph computes padding: {error}"


def _prove(
    config: ExportConfig,
    workshop: Workshop,
    reference: Baseline,
    precisions: list[Precision],
    providers: list[Provider],
) -> tuple[list[Proven], list[str]]:
    """Build and prove the candidates; padded graphs beside packed ones only where none of these may be published."""

    def attempt(recipes: list[Recipe]) -> tuple[list[Proven], list[str]]:
        return prove(_build(workshop, recipes), reference, providers, limits)

    def limits(precision: Precision) -> GateLimits:
        drops = config.vector_drops(precision) if "cosine" in reference.scores.dev else {}
        return config.limits(precision).model_copy(update={"one_row": reference.one_row, "metric_drops": drops})

    proven, failures = attempt(workshop.recipes(precisions, providers))
    if workshop.encoder is None or config.quick:
        return proven, failures
    # Padded int8 has the error of packed int8, and takes as long to build as all the rest.
    lacking = [each for each in _lacking(proven, precisions, providers) if each is not Precision.INT8]
    if not lacking:
        return proven, failures
    further, others = attempt([workshop.padded(each) for each in lacking])
    return [*proven, *further], [*failures, *others]


def _lacking(proven: list[Proven], precisions: list[Precision], providers: list[Provider]) -> list[Precision]:
    """Return the precisions of which there is nothing to publish for some provider that they are meant for."""
    chosen = choose(proven, force=False)
    done = {(each.built.precision, provider) for each in proven for provider in chosen.get(each.built.name, ())}
    return [each for each in precisions if {(each, at) for at in each.providers if at in providers} - done]


def _build(workshop: Workshop, recipes: Sequence[Recipe]) -> list[Built]:
    built = []
    with progress("Build", len(recipes)) as bar:
        for number, recipe in enumerate(recipes, 1):
            built.append(_built(workshop, recipe))
            bar(number)
    return built


def _built(workshop: Workshop, recipe: Recipe) -> Built:
    try:
        return workshop.build(recipe)
    except (UserError, OSError):
        raise
    except Exception as error:  # torch and onnx each raise their own
        raise UserError(
            f"{recipe.name} cannot be built of this model: {first_line(error)}; leave its precision out with --variants"
        ) from error


def _convert(config: ExportConfig, checkpoint: Checkpoint, path: Path) -> None:
    if config.converter == "optimum":
        inputs = input_names(checkpoint.model)
        convert_with_optimum(checkpoint.path, checkpoint.training.task, inputs, path, config.optimum_python)
    else:
        convert(checkpoint.model, path, both=checkpoint.both)
