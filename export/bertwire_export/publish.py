"""Choose the best of the proven candidates, and write the bundle."""

import platform
import shutil
from dataclasses import dataclass
from importlib.metadata import version as installed_version
from pathlib import Path
from typing import Literal

import onnxruntime
from tokenizers import Tokenizer

from bertwire_core.files import whole_folder
from bertwire_export.baseline import Baseline
from bertwire_export.checkpoint import TOKENIZER, Checkpoint
from bertwire_export.probe import make_probe
from bertwire_export.prove import Proven
from bertwire_export.ruled import Ruled
from bertwire_runtime.bundle import (
    SCHEMA_VERSION,
    Candidate,
    Manifest,
    Proof,
    Provenance,
    Provider,
    Variant,
    add_file,
    seal,
)
from bertwire_runtime.bundle.manifest import Rules
from bertwire_runtime.probe import PROBE
from bertwire_runtime.rules import RULES

# Ratio up to which two costs are equal. Repeated measurements on a machine with other work differ by as much; with half
# the margin chance chooses more often between equal graphs.
_AS_FAST = 1.05


@dataclass(frozen=True)
class Source:
    """The source of a bundle: what its candidates were made from and compared with.

    Attributes:
        name, version: name and version of the model.
        checkpoint: the fine-tuned model.
        tokenizer: as the server will use it.
        converter: the converter that wrote the padded graphs.
        reference: the rows, with PyTorch's logits.
        ruled: rules that change its decisions; None for none.
    """

    name: str
    version: str
    checkpoint: Checkpoint
    tokenizer: Tokenizer
    converter: Literal["torch", "optimum"]
    reference: Baseline
    ruled: Ruled | None


def choose(proven: list[Proven], *, force: bool) -> dict[str, tuple[Provider, ...]]:
    """Choose the fastest without faults of each precision for each provider; of those as fast, the nearest to PyTorch.

    Args:
        proven: all candidates.
        force: whether the fastest is chosen where all of a precision have faults.

    Returns:
        By name the providers that a candidate was chosen for; those of no provider are left out.
    """
    chosen: dict[str, tuple[Provider, ...]] = {}
    pairs = {(each.built.precision, proof.provider): None for each in proven for proof in each.proofs}
    for precision, provider in pairs:
        rivals = [
            (each.built.name, proof)
            for each in proven
            for proof in each.proofs
            if (each.built.precision, proof.provider) == (precision, provider)
        ]
        sound = [rival for rival in rivals if not rival[1].faults]
        if candidates := sound or (rivals if force else []):
            name = _best(candidates)
            chosen[name] = (*chosen.get(name, ()), provider)
    return chosen


def _best(rivals: list[tuple[str, Proof]]) -> str:
    fastest = min(proof.speed.cost for _, proof in rivals)
    equals = [rival for rival in rivals if rival[1].speed.cost <= _AS_FAST * fastest]
    return min(equals, key=lambda rival: (rival[1].dev.p99_logit_difference, rival[1].speed.cost))[0]


def publish(
    output: Path, source: Source, proven: list[Proven], chosen: dict[str, tuple[Provider, ...]], *, overwrite: bool
) -> None:
    """Write the bundle of the chosen candidates to `output`, whole or not at all.

    Raises:
        UserError: something is there by now that may not be replaced.
    """
    training = source.checkpoint.training
    by_name = {each.built.name: each for each in proven}
    built = [(by_name[name].built, providers) for name, providers in chosen.items()]
    probe = make_probe(built, source.reference.encodings, source.tokenizer)
    with whole_folder(output, overwrite=overwrite) as folder:
        # Not its own save, which raises a bare Exception where the disk is full.
        (folder / TOKENIZER).write_text(source.tokenizer.to_str(pretty=True), encoding="utf-8")
        (folder / PROBE).write_text(probe.model_dump_json() + "\n", encoding="utf-8")
        variants = [_variant(by_name[each], providers, folder) for each, providers in chosen.items()]
        manifest = Manifest(
            schema_version=SCHEMA_VERSION,
            name=source.name,
            version=source.version,
            task=training.task,
            text_pairs=training.text_pairs,
            labels=tuple(training.labels),
            max_length=training.max_length,
            chunks=training.chunks,
            chunk_overlap=training.chunk_overlap,
            truncation_side=training.truncation_side,
            pad_token_id=source.checkpoint.pad_token_id,
            tokenizer=add_file(folder, TOKENIZER),
            probe=add_file(folder, PROBE),
            rules=_rules(source.ruled, folder),
            calibration=source.reference.calibration,
            abstention=source.reference.abstention,
            embedding=source.checkpoint.embedding,
            variants=tuple(sorted(variants, key=lambda each: min(proof.speed.cost for proof in each.proofs))),
            candidates=tuple(_candidate(each) for each in proven if each.built.name not in chosen),
            provenance=_provenance(source),
        )
        seal(folder, manifest)


def _rules(ruled: Ruled | None, folder: Path) -> Rules | None:
    if ruled is None:
        return None
    (folder / RULES).write_bytes(ruled.file.content)
    return Rules(file=add_file(folder, RULES), names=ruled.file.rules.names, dev=ruled.dev, test=ruled.test)


def _variant(proven: Proven, providers: tuple[Provider, ...], folder: Path) -> Variant:
    built = proven.built
    proofs = tuple(proof for proof in proven.proofs if proof.provider in providers)
    shutil.copyfile(built.path, folder / f"{built.name}.onnx")
    return Variant(
        name=built.name,
        precision=built.precision.value,
        layout=built.layout.kind,
        proofs=proofs,
        file=add_file(folder, f"{built.name}.onnx"),
        providers=providers,
        groups=built.layout.groups,
        skips_padding=built.layout.skips_padding,
        forced=_has_faults(proofs),
    )


def _candidate(proven: Proven) -> Candidate:
    built = proven.built
    return Candidate(name=built.name, precision=built.precision.value, layout=built.layout.kind, proofs=proven.proofs)


def _has_faults(proofs: tuple[Proof, ...]) -> bool:
    return any(proof.faults for proof in proofs)


def _provenance(source: Source) -> Provenance:
    packages = ("bertwire", "torch", "transformers", "onnx", "tokenizers")
    reference = source.reference
    return Provenance(
        base_model=source.checkpoint.training.base_model,
        checkpoint_sha256=source.checkpoint.weights_sha256,
        training_sha256=source.checkpoint.training_sha256,
        converter=source.converter,
        dev=reference.splits["dev"],
        test=reference.splits.get("test"),
        texts=None if reference.unlabelled is None else reference.unlabelled.split,
        reference=reference.scores,
        versions={"python": platform.python_version()}
        | {name: installed_version(name) for name in packages}
        | {"onnxruntime": onnxruntime.__version__},
    )
