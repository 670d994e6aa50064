"""The table of every graph that was measured: what it scored, what it cost, what became of it."""

from collections.abc import Iterable, Iterator
from xml.etree.ElementTree import Element

from bertwire_export.report.markup import element, header, name, row, scrolling
from bertwire_runtime.bundle.manifest import Candidate, Manifest, Proof, Quality, Reference, Scores, Variant

_ABOUT = ("graph", "on", "verdict", "precision", "layout", "CPU-ms a text", "wall ms a text", "batch variance")
_DISTANCES = ("label agreement", "max logit difference", "p99 logit difference")


def verdict_table(manifest: Manifest) -> Element:
    """For every graph and provider its figures on each split, its limits and its faults; PyTorch's figures first."""
    reference = manifest.provenance.reference
    head = (*_ABOUT, "split", *reference.dev, *_DISTANCES)
    about: list[Element | str] = [name("PyTorch"), *(name("") for _ in _ABOUT[1:3]), name("fp32"), name(""), "", "", ""]
    lines = list(_lines(about, _scored(reference)))
    groups = [header(head, [*about, name(""), *_reference(reference.dev, reference.dev)]), element("tbody", *lines)]
    for candidate in (*manifest.variants, *manifest.candidates):
        for proof in candidate.proofs:
            remark = element("td", _remark(candidate, proof), class_="w", colspan=str(len(head)))
            lines = list(_lines(list(_about(candidate, proof)), _measured(proof, reference)))
            groups.append(element("tbody", *lines, element("tr", remark, class_="remark"), class_="graph"))
    return scrolling(element("table", *groups))


def verdict(candidate: Candidate) -> str:
    """What became of a graph, in one or two words."""
    if isinstance(candidate, Variant):
        return "forced" if candidate.forced else "published"
    return "not published"


def _lines(about: list[Element | str], figures: Iterable[tuple[str, list[str]]]) -> Iterator[Element]:
    """One line a split; what is said of the graph stands once, beside all of them."""
    (split, cells), *others = figures
    first = row([*about, name(split), *cells])
    for cell in first[: len(about)]:
        cell.set("rowspan", str(1 + len(others)))
    yield first
    yield from (row([name(split), *cells]) for split, cells in others)


def _about(candidate: Candidate, proof: Proof) -> Iterator[Element | str]:
    cpu_ms = proof.speed.cpu_ms_per_text
    yield name(candidate.name)
    yield name(proof.provider)
    yield element("strong", verdict(candidate), class_=verdict(candidate).replace(" ", "-"))
    yield name(candidate.precision)
    yield name(candidate.layout)
    yield "-" if cpu_ms is None else f"{cpu_ms:.2f}"
    yield f"{proof.speed.ms_per_text:.2f}"
    yield f"{proof.batch_variance:.2g}"


def _scored(reference: Reference) -> Iterator[tuple[str, list[str]]]:
    yield "dev", _reference(reference.dev, reference.dev)
    if reference.test is not None:
        yield "test", _reference(reference.test, reference.dev)


def _reference(scores: Scores, metrics: Iterable[str]) -> list[str]:
    return [*(_score(scores, metric) for metric in metrics), *[""] * len(_DISTANCES)]


def _measured(proof: Proof, reference: Reference) -> Iterator[tuple[str, list[str]]]:
    yield "dev", list(_quality(proof.dev, reference.dev, reference.dev))
    if proof.test is not None:
        yield "test", list(_quality(proof.test, reference.test or {}, reference.dev))


def _quality(quality: Quality, reference: Scores, metrics: Iterable[str]) -> Iterator[str]:
    for metric in metrics:
        yield _score(quality.scores, metric) + _difference(quality.scores, reference, metric)
    yield "-" if quality.label_agreement is None else f"{quality.label_agreement:.2%}"
    yield f"{quality.max_logit_difference:.2g}"
    yield f"{quality.p99_logit_difference:.2g}"


def _score(scores: Scores, metric: str) -> str:
    return f"{scores[metric]:.4f}" if metric in scores else "-"


def _difference(scores: Scores, reference: Scores, metric: str) -> str:
    if metric not in scores or metric not in reference:
        return ""
    # Rounded first, so that a hair below zero is not written as a negative zero.
    return f" ({round(scores[metric] - reference[metric], 4) + 0.0:+.4f})"


def _remark(candidate: Candidate, proof: Proof) -> Element:
    speed = proof.speed
    measured = f"Timed in batches of {speed.batch_size} on {speed.device}. Limits: {_limits(proof)}. "
    if proof.faults:
        return element("span", measured, element("strong", "Broke: "), "; ".join(proof.faults) + ".")
    elsewhere = [each.provider for each in candidate.proofs if each.faults]
    kept = "Kept all of them"
    if not isinstance(candidate, Variant):
        kept += f", but not on {', '.join(elsewhere)}" if elsewhere else ", but was not chosen"
    return element("span", measured + kept + ".")


def _limits(proof: Proof) -> str:
    limits = proof.limits
    logits, agreement = limits.max_logit_difference, proof.dev.label_agreement
    return ", ".join(
        (
            *([] if agreement is None else [f"label agreement at least {limits.min_label_agreement:.2%}"]),
            f"accuracy, F1 and correlations at most {limits.max_quality_drop:g} below PyTorch's on dev",
            *([] if logits is None else [f"logit difference at most {logits:g}"]),
            f"batch variance at most {limits.max_batch_variance:g}",
        )
    )
