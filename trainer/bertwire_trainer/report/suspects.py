"""Rows of train whose label is likely wrong, by models that have not seen them."""

import json
from pathlib import Path
from typing import Any

import numpy
from numpy.typing import NDArray

from bertwire_core.console import tracked
from bertwire_data.labelled import Labelled
from bertwire_data.pages.display import shortened
from bertwire_trainer.linear import fit_linear
from bertwire_trainer.report.kinds import KINDS, Doubts
from bertwire_trainer.report.kinds.base import text_of
from bertwire_trainer.report.material import Material
from bertwire_trainer.report.mistakes import WIDTH
from bertwire_trainer.report.section import Section, Table
from bertwire_trainer.report.words import vectorizer
from bertwire_trainer.tasks import SPECS

# Parts of cross-validation. With half as many each layer is fitted on a third less.
_FOLDS = 5
# Suspects that the page shows; the file has all.
_SHOWN = 50
_TITLE = "Suspects of wrong labels"

Floats = NDArray[numpy.float32]


def suspects(material: Material) -> list[Section]:
    """Return the section of the suspects, and write all of them to suspects.jsonl, the most likely first."""
    data = material.job.data
    if SPECS[data.task].by_word:
        return [Section(_TITLE, "None: labels of words are not checked, since the vectors are of whole texts.")]
    sample, train = material.vectors.train, data.train
    targets = data.targets["train"][sample.places]
    judged, strength = train.take(sample.places.tolist()), material.vectors.strength
    found = doubt(judged, sample.vectors, targets, data.labels, strength, material.job.seed)
    rows = [_suspect(found, each, train, int(sample.places[each])) for each in ranked(found)]
    _write(material.folder / "suspects.jsonl", rows)
    some = f"{len(targets)} of the {len(train)} rows of train, drawn at random,"
    checked = some if len(targets) < len(train) else "The rows of train"
    remark = (
        f"{checked} were judged by a linear layer on the encoder as it was before training and by TF-IDF, each row by "
        f"models that have not seen it. {len(rows)} labels are likely wrong, the most doubtful first; suspects.jsonl "
        "has all of them."
    )
    figures = {"rows": len(targets), "suspects": len(rows)}
    return [Section(_TITLE, remark, tables=[_table(rows)] if rows else [], figures=figures)]


def doubt(
    rows: Labelled, vectors: Floats, targets: NDArray[Any], labels: list[str], strength: float, seed: int
) -> Doubts:
    """Return the doubts about targets by cross-validation of two models: a linear layer, and one on TF-IDF.

    On sst2 either alone finds a tenth less of the labels that are wrong.

    Args:
        rows: the rows, of a task that is not by word.
        vectors: of their texts, float32 [rows, size].
        targets: of the rows, as `encode_targets` gives them.
        labels: the label names in id order.
        strength: as for `fit_linear`.
        seed: of the folds.
    """
    kind, texts = KINDS[rows.task], [*map(text_of, rows.inputs)]
    terms = vectorizer(texts).fit_transform(texts)
    logits = numpy.empty((len(rows), len(labels)))
    order = numpy.random.default_rng(seed).permutation(len(rows))
    for held in tracked(numpy.array_split(order, min(_FOLDS, len(order))), "report: cross-validation", _FOLDS):
        learnt = numpy.setdiff1d(order, held)
        weight, bias = fit_linear(vectors[learnt], targets[learnt], rows.task, len(labels), strength)
        by_words = kind.fit(terms[learnt], targets[learnt], labels)(terms[held])
        logits[held] = kind.joined(vectors[held] @ weight.T + bias, by_words)
    return kind.doubts(logits, targets, labels)


def ranked(found: Doubts) -> list[int]:
    """Return the places of the suspects, the most doubtful first."""
    return [each for each in numpy.argsort(found.quality, kind="stable").tolist() if found.suspect[each]]


def _suspect(found: Doubts, at: int, train: Labelled, place: int) -> dict[str, Any]:
    return {
        "row": train.rows[place],
        "text": text_of(train.inputs[place]),
        "label": found.given[at],
        "suggested": found.suggested[at],
        "quality": round(float(found.quality[at]), 4),
    }


def _write(path: Path, rows: list[dict[str, Any]]) -> None:
    with path.open("w", encoding="utf-8") as file:
        file.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)


def _table(rows: list[dict[str, Any]]) -> Table:
    cells = [
        (str(row["row"]), shortened(row["text"], WIDTH), row["label"], row["suggested"], f"{row['quality']:.4f}")
        for row in rows[:_SHOWN]
    ]
    title = f"The first {_SHOWN}" if len(rows) > _SHOWN else ""
    return Table(("row of train", "text", "label", "suggested", "quality of the label"), cells, 4, title)
