"""The sections of a report, and the files that it becomes."""

import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import captum.attr  # noqa: F401 - all that the extra brings is missed at once, not after minutes
import cleanlab.rank  # noqa: F401

from bertwire_data.pages.images import drawing
from bertwire_data.pages.render import render
from bertwire_trainer.messages import note
from bertwire_trainer.method import Fitted, Job
from bertwire_trainer.report.baselines import baselines
from bertwire_trainer.report.calibration import calibration
from bertwire_trainer.report.curves import curves
from bertwire_trainer.report.explanations import explanations
from bertwire_trainer.report.material import Material, gather
from bertwire_trainer.report.mistakes import mistakes
from bertwire_trainer.report.scores import scores
from bertwire_trainer.report.section import Section, recorded
from bertwire_trainer.report.summary import summary
from bertwire_trainer.report.suspects import suspects
from bertwire_trainer.report.write import Logits, say_fault

_FOLDER = Path(__file__).parent
# The sections in their order, by the name that report.json has for each.
_STEPS: dict[str, Callable[[Material], list[Section]]] = {
    "summary": summary,
    "curves": curves,
    "scores": scores,
    "calibration": calibration,
    "mistakes": mistakes,
    "suspects": suspects,
    "baselines": baselines,
    "explanations": explanations,
}


def write_page(folder: Path, job: Job, fitted: Fitted, logits: Logits) -> dict[str, float]:
    """Write report.html and report.json into a finished checkpoint; return the seconds of each step."""
    material = gather(folder, job, fitted, logits)
    sections: list[Section] = []
    figures: dict[str, Any] = {}
    seconds: dict[str, float] = {}
    with drawing():
        for name, step in _STEPS.items():
            begun = time.perf_counter()
            found = _made(name, step, material)
            sections += found
            figures[name] = {key: value for each in found for key, value in each.figures.items()}
            seconds[name] = time.perf_counter() - begun
    sections += _of_record(material.record)
    title = f"{material.record['method']} on {material.job.data.train.source}"
    page = render(_FOLDER, (_FOLDER / "marks.css").read_text(encoding="utf-8"), title=title, sections=sections)
    (folder / "report.html").write_text(page, encoding="utf-8")
    rounded = {name: round(each, 2) for name, each in seconds.items()}
    (folder / "report.json").write_text(json.dumps(figures | {"seconds": rounded}, indent=1) + "\n", encoding="utf-8")
    return seconds


def _made(name: str, step: Callable[[Material], list[Section]], material: Material) -> list[Section]:
    """Return the sections of a step; where it fails, one that says so."""
    note(f"report: {name}")
    try:
        return step(material)
    except Exception as error:
        say_fault(f"the report has no {name}", error)
        return [Section(name.capitalize(), f"Not computed: {error}")]


def _of_record(record: dict[str, Any]) -> Iterator[Section]:
    """Yield the sections whose rows training.json has."""
    if edits := record.get("robustness"):
        yield recorded("Robustness", edits, "The score on rows of dev that were changed.")
    if fairness := record.get("fairness"):
        yield recorded("Fairness", [*_groups(fairness)], "The score on groups of rows.")


def _groups(fairness: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    for each in fairness:
        for group in each["groups"]:
            shown = {name: group[name] for name in ("rows", "score", "accuracy", "remark")}
            yield {"group": group["name"], "by": each["groups_by"], "split": each["split"]} | shown
