"""Show an export and a bundle as tables: one column a graph and provider, so that they fit a terminal."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from bertwire_core.tasks import ServedTask
from bertwire_data.labelled import METRIC_NAMES
from bertwire_data.pages.display import visible
from bertwire_export.facts import bundle_facts
from bertwire_export.tasks import TASK_EXPORTS
from bertwire_runtime.bundle import Bundle, Candidate, Manifest, Proof, Provider, Quality, Scores

if TYPE_CHECKING:
    from bertwire_export.pipeline import Outcome
    from bertwire_runtime.probe import Checked

Rows = dict[str, str]


def outcome_table(outcome: Outcome) -> RenderableType:
    """Return every candidate beside PyTorch, with the verdict of the gate; a table a provider."""
    kept = {each.name for each in outcome.manifest.variants} if outcome.manifest else set()
    tables: dict[Provider, list[tuple[str, Rows]]] = {}
    for each in outcome.proven:
        for proof in each.proofs:
            verdict = "no" if each.built.name not in kept else "forced" if proof.faults else "yes"
            columns = tables.setdefault(proof.provider, [("PyTorch", _scores(outcome.reference.dev))])
            columns.append((each.built.name, _proof(proof, outcome.task) | {"published": verdict}))
    title = f"Proven on {outcome.texts} {TASK_EXPORTS[outcome.task].rows}"
    proven = [_table(f"{title}, {key}", tables[key]) for key in tables]
    return Group(*proven, *_rules(outcome.manifest))


def manifest_table(bundle: Bundle) -> RenderableType:
    """Return the manifest of a verified bundle, and what its int8 graphs compute on other processors."""
    manifest = bundle.manifest
    reference = manifest.provenance.reference
    task, rows = manifest.task, TASK_EXPORTS[manifest.task].rows
    parts: list[RenderableType] = [
        _summary(bundle),
        _table(f"Variants, on {rows}", [("PyTorch", _scores(reference.dev)), *_columns(manifest.variants, task)]),
    ]
    if reference.test is not None:
        on_test = [
            (_column(each.name, proof), _quality(proof.test, task))
            for each in manifest.variants
            for proof in each.proofs
            if proof.test is not None
        ]
        parts.append(_table("Variants, on test texts", [("PyTorch", _scores(reference.test)), *on_test]))
    if manifest.candidates:
        parts.append(_table(f"Built and not published, on {rows}", list(_columns(manifest.candidates, task))))
    return Group(*parts, *_rules(manifest))


def checked_table(checked: Iterable[Checked]) -> RenderableType:
    """Return what the probe found of each variant on this machine."""
    columns = [
        (
            each.variant if each.provider == "cpu" else f"{each.variant} {each.provider}",
            {
                "as proven": "no" if each.fault else "yes",
                "sequences": str(each.sequences),
                "further off than rounding": str(each.differing),
                "logits off, most": "" if each.largest is None else f"{each.largest:.2g}",
            },
        )
        for each in checked
    ]
    return _table("Run on this machine", columns)


def _summary(bundle: Bundle) -> Table:
    manifest = bundle.manifest
    title = f"{manifest.name} version {manifest.version}: sealed, every hash verified"
    table = Table(show_header=False, title=title, title_justify="left")
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in bundle_facts(bundle):
        table.add_row(name, _literal(value))
    return table


def _literal(value: str) -> Text:
    """Return text from outside as it is: neither rich's markup nor a terminal's control codes act."""
    return Text(visible(value))


def _rules(manifest: Manifest | None) -> Iterator[Table]:
    """Yield the table of what a bundle's rules change, if it has any."""
    if manifest is None or manifest.rules is None:
        return
    table = Table(title="Rules, by PyTorch's logits")
    table.add_column("", overflow="fold")
    effects = {"dev": manifest.rules.dev, "test": manifest.rules.test}
    found = {split: effect for split, effect in effects.items() if effect is not None}
    for split in found:
        table.add_column(split, justify="right")
    for place, name in enumerate(manifest.rules.names):
        table.add_row(f"texts of {name}", *(str(each.matched[place]) for each in found.values()))
    table.add_row("decisions changed", *(str(each.changed) for each in found.values()))
    without = {"dev": manifest.provenance.reference.dev, "test": manifest.provenance.reference.test or {}}
    for metric in found["dev"].scores:
        cells = [f"{without[split][metric]:.4f} to {each.scores[metric]:.4f}" for split, each in found.items()]
        table.add_row(METRIC_NAMES.get(metric, metric), *cells)
    yield table


def _columns(candidates: Iterable[Candidate], task: ServedTask) -> Iterator[tuple[str, Rows]]:
    for each in candidates:
        for proof in each.proofs:
            yield _column(each.name, proof), _about(each) | _proof(proof, task)


def _column(name: str, proof: Proof) -> str:
    return name if proof.provider == "cpu" else f"{name} {proof.provider}"


def _about(candidate: Candidate) -> Rows:
    forced = {"published": "forced"} if getattr(candidate, "forced", False) else {}
    file = getattr(candidate, "file", None)
    return ({"MB": f"{file.bytes / 1e6:.1f}"} if file else {}) | forced


def _proof(proof: Proof, task: ServedTask) -> Rows:
    speed = proof.speed
    cost = (
        {"wall-ms a text": f"{speed.ms_per_text:.3f}"}
        if speed.cpu_ms_per_text is None
        else {"CPU-ms a text": f"{speed.cpu_ms_per_text:.2f}"}
    )
    return cost | _quality(proof.dev, task) | _texts(proof) | {"batch variance": f"{proof.batch_variance:.2g}"}


def _texts(proof: Proof) -> Rows:
    """Return the agreement on texts without labels."""
    if proof.texts is None:
        return {}
    agreement = proof.texts.label_agreement
    decided = {} if agreement is None else {"as PyTorch, texts": f"{agreement:.2%}"}
    same = proof.texts.abstain_agreement
    decided |= {} if same is None else {"abstained as PyTorch, texts": f"{same:.2%}"}
    return decided | {"logit off, texts": f"{proof.texts.max_logit_difference:.2g}"}


def _quality(quality: Quality, task: ServedTask) -> Rows:
    agreement, output = quality.label_agreement, TASK_EXPORTS[task].output
    return (
        _scores(quality.scores)
        | ({} if agreement is None else {"as PyTorch": f"{agreement:.2%}"})
        | _abstention(quality)
        | {
            f"{output} off, most": f"{quality.max_logit_difference:.2g}",
            f"{output} off, p99": f"{quality.p99_logit_difference:.2g}",
        }
    )


def _abstention(quality: Quality) -> Rows:
    if quality.abstained is None or quality.abstain_agreement is None:
        return {}
    return {"abstained": f"{quality.abstained:.2%}", "abstained as PyTorch": f"{quality.abstain_agreement:.2%}"}


def _scores(scores: Scores) -> Rows:
    return {METRIC_NAMES.get(name, name.replace("_", " ")): f"{value:.4f}" for name, value in scores.items()}


def _table(title: str, columns: Sequence[tuple[str, Rows]]) -> Table:
    """Return a table with one row a figure; CPU-ms are of one thread, `... off` is the distance from PyTorch's."""
    table = Table(title=title)
    table.add_column("", no_wrap=True)
    for name, _ in columns:
        # Narrow enough for five of them in 80 columns.
        table.add_column(re.sub("[- ]", "\n", name), justify="right")
    names = dict.fromkeys(name for _, rows in reversed(columns) for name in rows)
    for name in names:
        table.add_row(name, *(rows.get(name, "") for _, rows in columns))
    return table
