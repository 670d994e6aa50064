"""Make the context of the report's template: texts and figures as the page shows them."""

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bertwire_data.pages.figures import MOST_POINTS, confusions, most_confused
from bertwire_export.evidence import Evidence
from bertwire_export.facts import abstention_fact, embedding_fact, wider
from bertwire_export.tasks import TASK_EXPORTS
from bertwire_runtime.bundle import Candidate, Manifest, Quality, Scores, Variant

# Texts a batch, for the share of padding.
_BATCH_TEXTS = 32
_ABOUT = ("graph", "on", "verdict", "precision", "layout", "CPU-ms a text", "wall ms a text", "batch variance")
_ABSTENTION = ("abstained", "as PyTorch")
_DISTANCES = ("label agreement", "max {} difference", "p99 {} difference")


def verdict(candidate: Candidate) -> str:
    """Return what became of a graph, in one or two words."""
    if isinstance(candidate, Variant):
        return "forced" if candidate.forced else "published"
    return "not published"


def report_context(manifest: Manifest, evidence: Evidence) -> dict[str, Any]:
    """Return what the template reads, but for the plots."""
    lengths, computed = (np.array(each or [1]) for each in (evidence.lengths, evidence.computed))
    abstention = manifest.abstention
    confusion = np.zeros((0, 0), np.int64) if evidence.confusion is None else evidence.confusion
    output = TASK_EXPORTS[manifest.task].output
    numbers = 0 if evidence.scatter is None else len(evidence.scatter[0])
    worst_first = sorted(evidence.per_label or (), key=lambda each: each[3])
    return {
        "manifest": manifest,
        "source": manifest.provenance,
        "evidence": evidence,
        "first": manifest.variants[0].name,
        "gives": manifest.embedding and embedding_fact(manifest.embedding),
        "abstains": abstention and abstention_fact(abstention),
        "verdict_head": (
            *(*_ABOUT, "split", *manifest.provenance.reference.dev, *(each.format(output) for each in _DISTANCES)),
            *(_ABSTENTION if abstention else ()),
        ),
        "graphs": list(_graphs(manifest)),
        "output": output,
        "has_temperature": TASK_EXPORTS[manifest.task].has_temperature,
        "drawn": len(most_confused(confusion)),
        "confusions": list(confusions(confusion, manifest.labels)),
        "per_label": [(label, *(f"{each:.4f}" for each in scores), n) for label, *scores, n in worst_first],
        "thresholds": [(manifest.labels[at], f"{each:.4f}") for at, each in enumerate(manifest.calibration.thresholds)],
        "cut": f"{np.mean(lengths > evidence.most):.2%}",
        "chunks": f"{len(computed) / len(lengths):.2f}",
        "padding": f"{_padding_share(computed):.2%}",
        "batch_texts": _BATCH_TEXTS,
        "numbers": numbers,
        "points": min(numbers, MOST_POINTS),
        "hashes": _hashes(manifest).items(),
        "rules": list(_rules(manifest, evidence)),
        "rules_scores": list(_rules_scores(manifest)),
    }


def _graphs(manifest: Manifest) -> Iterator[dict[str, Any]]:
    """Yield every graph on every provider, after PyTorch."""
    dev, test = manifest.provenance.reference.dev, manifest.provenance.reference.test or {}
    first = "dev" if manifest.labels else "texts"
    scored = [(split, scores) for split, scores in ((first, dev), ("test", test)) if scores]
    shares = {} if (found := manifest.abstention) is None else {"dev": found.dev, "test": found.test}
    cells = [
        (
            split,
            [
                *(_score(scores, each) for each in dev),
                *[""] * len(_DISTANCES),
                *([f"{share:.2%}", ""] if (share := shares.get(split)) is not None else []),
            ],
        )
        for split, scores in scored
    ]
    yield {"about": ("PyTorch", "", "", "fp32", *[""] * 4), "splits": cells, "proof": None}
    for candidate in (*manifest.variants, *manifest.candidates):
        for proof in candidate.proofs:
            speed, measured = proof.speed, [(first, proof.dev, dev), ("test", proof.test, test)]
            cpu = "-" if speed.cpu_ms_per_text is None else f"{speed.cpu_ms_per_text:.2f}"
            about = (candidate.name, proof.provider, verdict(candidate), candidate.precision, candidate.layout)
            yield {
                "about": (*about, cpu, f"{speed.ms_per_text:.2f}", f"{proof.batch_variance:.2g}"),
                "splits": [(split, _quality(found, dev, best)) for split, found, best in measured if found],
                "proof": proof,
                "kept": _kept(candidate),
                "wider": wider(proof.limits, dev),
            }


def _quality(quality: Quality, metrics: Iterable[str], reference: Scores) -> list[str]:
    agreement = "-" if quality.label_agreement is None else f"{quality.label_agreement:.2%}"
    distances = (f"{each:.2g}" for each in (quality.max_logit_difference, quality.p99_logit_difference))
    shares = [f"{each:.2%}" for each in (quality.abstained, quality.abstain_agreement) if each is not None]
    return [*(_score(quality.scores, each, reference) for each in metrics), agreement, *distances, *shares]


def _score(scores: Scores, metric: str, reference: Scores | None = None) -> str:
    if metric not in scores:
        return "-"
    value = scores[metric]
    if not reference or metric not in reference:
        return f"{value:.4f}"
    # Rounded first, so that a hair below zero is not written as a negative zero.
    return f"{value:.4f} ({round(value - reference[metric], 4) + 0.0:+.4f})"


def _kept(candidate: Candidate) -> str:
    """Return why a graph that kept its limits on a provider is not published, as the end of a sentence."""
    if isinstance(candidate, Variant):
        return ""
    elsewhere = ", ".join(each.provider for each in candidate.proofs if each.faults)
    return f", but not on {elsewhere}" if elsewhere else ", but was not chosen"


def _padding_share(lengths: NDArray[np.int64]) -> float:
    """Return the share of padding in batches of texts in the given order, each filled up to its longest text."""
    batches = [lengths[start : start + _BATCH_TEXTS] for start in range(0, len(lengths), _BATCH_TEXTS)]
    return 1 - float(lengths.sum()) / sum(len(each) * int(each.max()) for each in batches)


def _rules(manifest: Manifest, evidence: Evidence) -> Iterator[tuple[str, str, str, str, str, str]]:
    """Yield each rule: name, what it does to which label, pattern, and texts of dev and test that it matches."""
    if manifest.rules is None:
        return
    dev, test = manifest.rules.dev, manifest.rules.test
    for place, rule in enumerate(evidence.rules):
        on_test = "-" if test is None else str(test.matched[place])
        yield rule.name, str(rule), manifest.labels[rule.label], rule.pattern, str(dev.matched[place]), on_test


def _rules_scores(manifest: Manifest) -> Iterator[tuple[str, str, str, str, str]]:
    """Yield each metric of each split without and with the rules, and the number of decisions that they change."""
    if manifest.rules is None:
        return
    source = manifest.provenance.reference
    for split, effect, without in (("dev", manifest.rules.dev, source.dev), ("test", manifest.rules.test, source.test)):
        if effect is not None and without is not None:
            for metric, value in effect.scores.items():
                yield split, metric, f"{without[metric]:.4f}", f"{value:.4f}", str(effect.changed)


def _hashes(manifest: Manifest) -> dict[str, str]:
    source = manifest.provenance
    test = {} if source.test is None else {"test texts": source.test.sha256}
    record = {} if source.training_sha256 is None else {"training.json": source.training_sha256}
    trained = {"fine-tuned weights" if record else "weights": source.checkpoint_sha256} | record
    files = {f"{entry.name}, {entry.bytes:,} bytes": entry.sha256 for entry in manifest.files}
    return trained | {"dev texts": source.dev.sha256} | test | files
