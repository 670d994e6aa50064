"""The scores of the checkpoint, overall and of each label."""

from typing import Any

from bertwire_data.pages.figures import Figures, confusions, most_confused
from bertwire_data.pages.images import image
from bertwire_data.pages.plots import confusion_matrix, scatter
from bertwire_trainer.messages import metric_name
from bertwire_trainer.report.material import Material
from bertwire_trainer.report.section import Plot, Section, Table

_SCORES = ("precision", "recall", "F1")


def scores(material: Material) -> list[Section]:
    """Return the sections of the scores, and of what is mistaken for what."""
    metrics, kind, labels = material.record["metrics"], material.kind, material.labels
    names = [*metrics["dev"]]
    overall = [(split, *(f"{found[name]:.4f}" for name in names)) for split, found in metrics.items()]
    figures = {name: kind.figures(held.rows, held.logits, held.targets, labels) for name, held in material.held.items()}
    tables = [Table(("split", *map(metric_name, names)), overall)]
    tables += [_per_label(name, found) for name, found in figures.items() if found.per_label]
    kept = {"overall": metrics, **{name: _kept(found) for name, found in figures.items()}}
    return [Section("Scores", tables=tables, figures=kept), *_mistaken(figures["dev"], labels)]


def _per_label(split: str, found: Figures) -> Table:
    worst_first = sorted(found.per_label or (), key=lambda each: each[3])
    rows = [(label, *(f"{each:.4f}" for each in scores), str(support)) for label, *scores, support in worst_first]
    return Table(("label", *_SCORES, "support"), rows, title=f"Label by label on {split}, the lowest F1 first")


def _kept(found: Figures) -> dict[str, Any]:
    names = [*(name.lower() for name in _SCORES), "support"]
    return {label: dict(zip(names, each, strict=True)) for label, *each in found.per_label or ()}


def _mistaken(found: Figures, labels: list[str]) -> list[Section]:
    title = "What is mistaken for what"
    if found.scatter is not None:
        plot = Plot(image(scatter(*found.scatter, labels[0])), "Predicted against true numbers")
        return [Section("Predicted and true numbers", "On dev.", [plot])]
    if found.confusion is None:
        return []
    drawn, pairs = len(most_confused(found.confusion)), [*confusions(found.confusion, labels)]
    some = f" Only the {drawn} labels that are confused most are drawn." if drawn < len(labels) else ""
    remark = f"On dev. Each row shows where the decisions of one true label went.{some}"
    remark += "" if pairs else " None was confused."
    plots = [Plot(image(confusion_matrix(found.confusion, labels)), "Confusion matrix", large=True)]
    columns = ("true", "predicted", "times", "share of the true label")
    tables = [Table(columns, pairs, 2, "The most frequent confusions")] if pairs else []
    return [Section(title, remark, plots, tables, figures={"confusion": found.confusion.tolist()})]
