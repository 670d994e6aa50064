"""What a person reads of an export and of a bundle: one row a graph and provider, one short column a figure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from bertwire_export.bundle import Bundle, Candidate, Manifest, Proof, Scores, Variant
from bertwire_export.bundle.signature import describe

if TYPE_CHECKING:
    from bertwire_export.pipeline import Outcome

_SHORT = {
    "macro_f1": "macro-F1",
    "micro_f1": "micro-F1",
    "subset_accuracy": "all right",
    "f1": "entity F1",
}
_LEGEND = (
    "ms: CPU-milliseconds a text, one thread (CUDA: wall clock). same: decisions as PyTorch's. "
    "logit: largest and 99th-percentile difference from PyTorch's. company: largest difference of a logit by the "
    "other texts of the batch."
)


def outcome_table(outcome: Outcome) -> RenderableType:
    """Every candidate beside PyTorch, with the verdict of the gate."""
    kept = {each.name for each in outcome.manifest.variants} if outcome.manifest else set()
    table = _table(outcome.reference.dev, f"Proven on {outcome.texts} dev texts")
    table.add_column("published")
    table.add_row("PyTorch", "", *_scores(outcome.reference.dev, outcome.reference.dev))
    for each in outcome.proven:
        for proof in each.proofs:
            verdict = "no" if each.built.name not in kept else "forced" if proof.faults else "yes"
            table.add_row(f"{each.built.name} {_on(proof)}", *_proof(proof, outcome.reference.dev), verdict)
    return Group(table, Text(_LEGEND, style="dim"))


def manifest_table(bundle: Bundle) -> RenderableType:
    """The manifest of a verified bundle."""
    manifest = bundle.manifest
    reference = manifest.provenance.reference
    parts: list[RenderableType] = [_summary(bundle), _variants(manifest.variants, reference.dev, "Variants, on dev")]
    if reference.test is not None:
        parts.append(_on_test(manifest, reference.test))
    if manifest.candidates:
        parts.append(_variants(manifest.candidates, reference.dev, "Not published, on dev"))
    return Group(*parts, Text(_LEGEND, style="dim"))


def _summary(bundle: Bundle) -> Table:
    manifest, provenance = bundle.manifest, bundle.manifest.provenance
    title = f"{manifest.name} version {manifest.version}: sealed, every hash verified"
    table = Table(show_header=False, title=title, title_justify="left")
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in _facts(bundle):
        table.add_row(name, _literal(value))
    for variant in manifest.variants:
        megabytes = f"{variant.file.bytes / 1e6:.1f} MB"
        forced = ", published although it breaks a limit" if variant.forced else ""
        table.add_row(variant.name, f"{variant.layout}, {', '.join(variant.providers)}, {megabytes}{forced}")
    table.add_row("seal", bundle.sha256)
    table.add_row("signature", describe(bundle.signature, trusted=bundle.trusted))
    table.add_row("weights", provenance.checkpoint_sha256)
    return table


def _facts(bundle: Bundle) -> Iterator[tuple[str, str]]:
    manifest, provenance, calibration = bundle.manifest, bundle.manifest.provenance, bundle.manifest.calibration
    pairs = ", pairs of texts" if manifest.text_pairs else ""
    yield "task", f"{manifest.task}{pairs}"
    yield "labels", f"{len(manifest.labels)}: {', '.join(manifest.labels)}"
    yield "reads", f"{manifest.max_length} tokens, longer text is cut on the {manifest.truncation_side}"
    yield "base model", provenance.base_model
    for split in (provenance.dev, provenance.test):
        if split is not None:
            yield "proven on", f"{split.texts} texts of {split.source}"
    if calibration.ece_before is not None and calibration.ece_after is not None:
        error = f"calibration error {calibration.ece_before:.4f}"
        after = f", {calibration.ece_after:.4f} at temperature {calibration.temperature:.3f}"
        yield "calibration", error + (after if calibration.temperature != 1 else "")
    if calibration.thresholds:
        yield "thresholds", ", ".join(f"{threshold:.3f}" for threshold in calibration.thresholds)
    yield "converter", provenance.converter
    yield "built with", ", ".join(f"{name} {version}" for name, version in provenance.versions.items())


def _literal(value: str) -> Text:
    """Text from outside, shown as it is: neither rich's markup nor a terminal's control codes act."""
    return Text("".join(each if each.isprintable() else repr(each)[1:-1] for each in value))


def _variants(candidates: Sequence[Candidate], reference: Scores, title: str) -> Table:
    table = _table(reference, title)
    table.add_row("PyTorch", "", *_scores(reference, reference))
    for each in candidates:
        for proof in each.proofs:
            table.add_row(f"{each.name} {_on(proof)}", *_proof(proof, reference))
    return table


def _on_test(manifest: Manifest, reference: Scores) -> Table:
    table = Table("", *(_SHORT.get(name, name) for name in reference), "same", title="Variants, on test")
    table.add_row("PyTorch", *_scores(reference, reference))
    for variant, proof in _proofs(manifest.variants):
        if proof.test is not None:
            table.add_row(
                f"{variant.name} {_on(proof)}",
                *_scores(proof.test.scores, reference),
                _share(proof.test.label_agreement),
            )
    return table


def _proofs(variants: Sequence[Variant]) -> Iterator[tuple[Variant, Proof]]:
    for variant in variants:
        for proof in variant.proofs:
            yield variant, proof


def _table(reference: Scores, title: str) -> Table:
    columns = ("ms", *(_SHORT.get(name, name) for name in reference), "same", "logit", "company")
    table = Table(title=title)
    table.add_column("", overflow="fold")
    for name in columns:
        table.add_column(name, justify="right")
    return table


def _proof(proof: Proof, reference: Scores) -> tuple[str, ...]:
    quality = proof.dev
    cost = proof.speed.cpu_ms_per_text or proof.speed.ms_per_text
    logit = f"{quality.max_logit_difference:.1g}/{quality.p99_logit_difference:.1g}"
    figures = *_scores(quality.scores, reference), _share(quality.label_agreement), logit
    return f"{cost:.2f}", *figures, f"{proof.batch_variance:.1g}"


def _scores(scores: Scores, names: Scores) -> tuple[str, ...]:
    return tuple(f"{scores[name]:.4f}" for name in names)


def _share(value: float | None) -> str:
    return "" if value is None else f"{value:.2%}"


def _on(proof: Proof) -> str:
    return "" if proof.provider == "cpu" else f"({proof.provider})"
