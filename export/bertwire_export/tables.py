"""What a person reads of an export and of a bundle: one column a variant, so that it fits a terminal."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from bertwire_export.bundle import Bundle, Manifest, Quality, Scores, Speed
from bertwire_export.bundle.signature import describe

if TYPE_CHECKING:
    from bertwire_export.pipeline import Outcome

_MEASURES = ("accuracy", "macro-F1", "same label as PyTorch", "largest logit difference", "CPU-ms a text, one thread")


def outcome_table(outcome: Outcome) -> Table:
    """Every variant beside PyTorch, with the verdict of the gate."""
    candidates = outcome.candidates
    columns = [_scores(outcome.reference), *(_proof(each.quality, each.speed) for each in candidates)]
    table = Table("", "PyTorch", *(each.precision for each in candidates), title=f"Proven on {outcome.texts} texts")
    _add_rows(table, _MEASURES, columns)
    table.add_row("published", "", *("no" if each.faults else "yes" for each in candidates))
    return table


def manifest_table(bundle: Bundle) -> RenderableType:
    """The manifest of a verified bundle."""
    return Group(_summary(bundle), _variants(bundle.manifest))


def _summary(bundle: Bundle) -> Table:
    manifest, provenance = bundle.manifest, bundle.manifest.provenance
    title = f"{manifest.name} version {manifest.version}: sealed, every hash verified"
    table = Table(show_header=False, title=title, title_justify="left")
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    reference = provenance.reference
    for name, value in (
        ("task", manifest.task),
        ("labels", f"{len(manifest.labels)}: {', '.join(manifest.labels)}"),
        ("reads", f"{manifest.max_length} tokens, longer text is cut on the {manifest.truncation_side}"),
        ("base model", provenance.base_model),
        ("proven on", f"{provenance.dev.texts} texts of {provenance.dev.source}"),
        ("PyTorch there", f"accuracy {reference.accuracy:.4f}, macro-F1 {reference.macro_f1:.4f}"),
        ("built with", ", ".join(f"{name} {version}" for name, version in provenance.versions.items())),
        ("seal", bundle.sha256),
        ("signature", describe(bundle.signature, trusted=bundle.trusted)),
        ("weights", provenance.checkpoint_sha256),
    ):
        table.add_row(name, _literal(value))
    return table


def _literal(value: str) -> Text:
    """Text from outside, shown as it is: neither rich's markup nor a terminal's control codes act."""
    return Text("".join(each if each.isprintable() else repr(each)[1:-1] for each in value))


def _variants(manifest: Manifest) -> Table:
    table = Table("variant", *(each.name for each in manifest.variants))
    names = ("providers", "layout", "MB", *_MEASURES)
    columns = [
        (", ".join(each.providers), each.layout, f"{each.file.bytes / 1e6:.1f}", *_proof(each.quality, each.speed))
        for each in manifest.variants
    ]
    _add_rows(table, names, columns)
    return table


def _proof(quality: Quality, speed: Speed) -> tuple[str, ...]:
    agreement, difference = f"{quality.label_agreement:.2%}", f"{quality.max_logit_difference:.2g}"
    return *_scores(quality), agreement, difference, f"{speed.cpu_ms_per_text:.2f}"


def _scores(scores: Scores) -> tuple[str, ...]:
    return f"{scores.accuracy:.4f}", f"{scores.macro_f1:.4f}"


def _add_rows(table: Table, names: Sequence[str], columns: Sequence[Sequence[str]]) -> None:
    for index, name in enumerate(names):
        table.add_row(name, *(column[index] if index < len(column) else "" for column in columns))
