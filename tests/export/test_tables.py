"""What a person reads of an export and of a bundle fits a terminal, and nothing in it acts."""

import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console, RenderableType

from bertwire_export.candidates import Built
from bertwire_export.config import Precision
from bertwire_export.pipeline import Outcome
from bertwire_export.prove import Proven
from bertwire_export.tables import manifest_table, outcome_table
from bertwire_runtime.bundle import Bundle, Manifest, Proof, Reference, open_bundle
from bertwire_runtime.layouts import Layout
from support import reseal

HOSTILE = ["[/x]", "[red]b", "[link=http://x]y[/link]", "c\n\x1b[31m", "\u202ed"]


def shown(table: RenderableType, width: int = 80) -> str:
    """What a terminal of this width gets."""
    console = Console(width=width, force_terminal=False, record=True)
    with console.capture() as capture:
        console.print(table)
    return capture.get()


def proof(manifest: Manifest, faults: Sequence[str] = ()) -> Proof:
    """The first variant's proof, with faults."""
    return manifest.variants[0].proofs[0].model_copy(update={"faults": tuple(faults)})


def outcome(bundle: Bundle, candidates: dict[str, Sequence[str]], *, published: bool = True) -> Outcome:
    """An outcome of candidates by name, each with its faults, of which the bundle's are published."""
    layout = Layout("packed", 6, 0, by_token=False)
    proven = [
        Proven(
            Built(name, Precision.FP32, layout, ("cpu",), Path(name)),
            (proof(bundle.manifest, faults),),
            np.zeros((1, 3), np.float32),
        )
        for name, faults in candidates.items()
    ]
    reference = Reference(dev=bundle.manifest.provenance.reference.dev, test=None)
    return Outcome(bundle.manifest.task, bundle.manifest if published else None, reference, proven, 100, [])


def edited(bundle: Path, tmp_path: Path, **fields: Any) -> Bundle:  # noqa: ANN401 - any field
    """The bundle with other fields in its manifest."""
    copy = Path(shutil.copytree(bundle, tmp_path / "copy"))
    reseal(copy, lambda manifest: manifest.update(fields))
    return open_bundle(copy)


def cells(table: str, first: str) -> list[str]:
    """The cells of the row that begins with `first`."""
    rows = [[cell.strip() for cell in line.split("│")[1:-1]] for line in table.splitlines()]
    return next(row for row in rows if row and row[0] == first)


def test_outcome_fits_a_terminal(bundle: Path) -> None:
    """PyTorch and four candidates stand beside each other in 80 columns, nothing of them broken."""
    names = ["fp32-packed", "fp32-padded", "fp16-packed", "fp16-padded"]
    text = shown(outcome_table(outcome(open_bundle(bundle), dict.fromkeys(names, ()))))
    lines = text.splitlines()
    assert max(map(len, lines)) <= 80
    assert lines[0].strip() == "Proven on 100 dev texts, cpu"
    assert [line.replace("┃", " ").split() for line in lines[2:4]] == [
        ["fp32", "fp32", "fp16", "fp16"],
        ["PyTorch", "packed", "padded", "packed", "padded"],
    ]
    assert cells(text, "as PyTorch")[2].endswith("%")


def test_outcome_has_a_table_a_provider(bundle: Path) -> None:
    """What was measured on CUDA stands apart from the same graph on the CPU."""
    found = outcome(open_bundle(bundle), {"fp32-packed": ()})
    cuda = found.proven[0].proofs[0].model_copy(update={"provider": "cuda"})
    found.proven[0] = replace(found.proven[0], proofs=(*found.proven[0].proofs, cuda))
    titles = [line.strip() for line in shown(outcome_table(found)).splitlines() if "Proven" in line]
    assert titles == ["Proven on 100 dev texts, cpu", "Proven on 100 dev texts, cuda"]


def test_outcome_gives_the_verdict(bundle: Path) -> None:
    """What is in the bundle says yes, or forced where it has faults; what is not says no."""
    opened = open_bundle(bundle)
    found = outcome(opened, {"fp32-packed": (), "int8-packed": ("wrong",), "fp32-padded": ()})
    assert cells(shown(outcome_table(found)), "published") == ["published", "", "yes", "forced", "no"]
    nothing = outcome(opened, {"fp32-packed": ("wrong",)}, published=False)
    assert cells(shown(outcome_table(nothing)), "published") == ["published", "", "no"]


def test_manifest_fits_a_terminal(bundle: Path, tmp_path: Path) -> None:
    """A bundle with many long labels, and as many rejected candidates as an export can have, keeps to 80 columns."""
    opened = open_bundle(bundle)
    rejected = [
        {"name": name, "precision": "fp32", "layout": "padded", "proofs": [proof(opened.manifest).model_dump()]}
        for name in ("fp32-padded", "fp16-padded", "fp16-packed")
    ]
    labels = [f"a label of several words, number {number}" for number in range(3)]
    text = shown(manifest_table(edited(bundle, tmp_path, labels=labels, candidates=rejected)))
    assert max(map(len, text.splitlines())) <= 80
    assert "Built and not published, on dev texts" in text
    assert text.count("padded") == 2
    assert f"{opened.manifest.calibration.temperature:.3f}" in text
    assert "no temperature is fitted" not in text


def test_manifest_says_why_no_temperature_was_fitted(bundle: Path, tmp_path: Path) -> None:
    """Who sees scores that are far off should know what to do."""
    manifest = open_bundle(bundle).manifest.model_dump()
    manifest["provenance"]["dev"]["texts"] = 30
    manifest["calibration"] |= {"temperature": 1.0, "ece_before": 0.5, "ece_after": 0.5}
    changed = {name: manifest[name] for name in ("provenance", "calibration")}
    text = " ".join(shown(manifest_table(edited(bundle, tmp_path, **changed))).replace("│", " ").split())
    assert "no temperature is fitted on fewer than 100 texts" in text


def test_labels_do_not_act(bundle: Path, tmp_path: Path) -> None:
    """Labels with rich's markup, control codes and marks of direction are shown as they are written."""
    calibration = {"temperature": 1, "thresholds": [0.25] * 5, "ece_before": 0.5, "ece_after": 0.5}
    text = shown(
        manifest_table(edited(bundle, tmp_path, task="multi_label", labels=HOSTILE, calibration=calibration)), width=200
    )
    assert "5: [/x], [red]b, [link=http://x]y[/link], c\\n\\x1b[31m, \\u202ed" in text
    assert "[red]b 0.250" in text
    assert not {"\x1b", "\u202e"} & set(text)


@pytest.mark.parametrize("forced", [True, False])
def test_forced_variant_is_marked(bundle: Path, tmp_path: Path, forced: bool) -> None:
    """A variant that was published in spite of its faults says so."""
    variants = [each.model_dump(mode="json") for each in open_bundle(bundle).manifest.variants]
    variants[0]["forced"] = forced
    text = shown(manifest_table(edited(bundle, tmp_path, variants=variants)))
    assert ("forced" in text) == forced
