"""The facts about a bundle that stand in its manifest, as lines of text."""

from collections.abc import Iterable, Iterator

from bertwire_export.tasks import TASK_EXPORTS
from bertwire_runtime.bundle import Abstention, Bundle, Embedding, GateLimits, Manifest, Proof
from bertwire_runtime.bundle.manifest import MIN_CALIBRATION_TEXTS
from bertwire_runtime.bundle.saturation import bundle_products
from bertwire_runtime.bundle.signature import describe

# The probe's line for a bundle without one.
_UNPROVEN = "none (schema 2): not proven on the machines that serve it; export it again"


def bundle_facts(bundle: Bundle) -> Iterator[tuple[str, str]]:
    """Yield the name and the text of each fact, in the order of a page: what it is, how it was made, its hashes."""
    manifest, provenance = bundle.manifest, bundle.manifest.provenance
    yield "task", f"{manifest.task}, pairs of texts" if manifest.text_pairs else manifest.task
    if manifest.labels:
        yield "labels", f"{len(manifest.labels)}: {', '.join(manifest.labels)}"
    if manifest.embedding is not None:
        yield "gives", embedding_fact(manifest.embedding)
    yield "reads", f"{manifest.reads}, longer text is cut on the {manifest.truncation_side}"
    yield "base model", provenance.base_model
    yield "chosen on", f"{provenance.dev.texts} {TASK_EXPORTS[manifest.task].rows} of {provenance.dev.source}"
    if provenance.test is not None:
        yield "scored on", f"{provenance.test.texts} test texts of {provenance.test.source}"
    if provenance.texts is not None:
        yield "compared on", f"{provenance.texts.texts} texts without labels of {provenance.texts.source}"
    yield from _calibration(manifest)
    if manifest.abstention is not None:
        yield "abstains", abstention_fact(manifest.abstention)
    for variant in manifest.variants:
        limits = _limits(variant.proofs[0], TASK_EXPORTS[manifest.task].output)
        yield f"limits of {variant.name}", f"{limits}{', forced' if variant.forced else ''}"
    for name, products in bundle_products(bundle).items():
        yield f"int8 of {name}", str(products)
    yield "built with", ", ".join(f"{name} {version}" for name, version in provenance.versions.items())
    yield "converter", provenance.converter
    yield "probe", "--run checks with it what this machine computes" if manifest.probe else _UNPROVEN
    yield "seal", bundle.sha256
    yield "signature", describe(bundle.signature, trusted=bundle.trusted)
    yield "weights", provenance.checkpoint_sha256


def embedding_fact(embedding: Embedding) -> str:
    """Return what a vector is."""
    read = "the first token's vector" if embedding.pooling == "first" else f"the {embedding.pooling} of all tokens"
    return f"vectors of {embedding.dimensions} dimensions: {read}{', normalized' if embedding.normalize else ''}"


def abstention_fact(abstention: Abstention) -> str:
    """Return from which share of the texts PyTorch abstains, and by which threshold."""
    test = "" if abstention.test is None else f" and {abstention.test:.2%} of test"
    return f"from {abstention.dev:.2%} of dev{test} by PyTorch, where the scope is below {abstention.threshold:.4f}"


def _limits(proof: Proof, output: str) -> str:
    limits = proof.limits
    logit = limits.max_logit_difference
    own = "".join(f"{name} at most {drop:.4g}, " for name, drop in limits.metric_drops.items())
    agreement = "" if proof.dev.label_agreement is None else f"as PyTorch at least {limits.least_agreement:.2%}, "
    return (
        f"{agreement}{own}{'other ' if own else ''}scores at most {limits.max_quality_drop:g} below its"
        f"{wider(limits, proof.dev.scores)}, "
        + ("" if logit is None else f"{output}s off by {logit:g} at most, ")
        + f"batch variance at most {limits.max_batch_variance:g}"
    )


def wider(limits: GateLimits, metrics: Iterable[str]) -> str:
    """Return which scores may lie further below, since one row is worth more, as the middle of a sentence."""
    most = {name: limits.most_drop(name) for name in metrics}
    found = [f"{name} {each:.2g}" for name, each in most.items() if each > limits.drop(name)]
    return f" ({', '.join(found)}: one row)" if found else ""


def _calibration(manifest: Manifest) -> Iterator[tuple[str, str]]:
    calibration = manifest.calibration
    if calibration.ece_before is not None and calibration.ece_after is not None:
        error = f"expected calibration error on dev {calibration.ece_before:.4f}"
        after = f" before, {calibration.ece_after:.4f} after dividing the logits by {calibration.temperature:.3f}"
        few = TASK_EXPORTS[manifest.task].has_temperature and manifest.provenance.dev.texts < MIN_CALIBRATION_TEXTS
        unfitted = f"; no temperature is fitted on fewer than {MIN_CALIBRATION_TEXTS} texts" if few else ""
        yield "scores", error + (f"{after}, fitted there" if calibration.temperature != 1 else unfitted)
    if calibration.thresholds:
        pairs = zip(manifest.labels, calibration.thresholds, strict=True)
        yield "thresholds", ", ".join(f"{label} {threshold:.3f}" for label, threshold in pairs)
