"""What stands in each section of the page. A section without content is left out."""

from xml.etree.ElementTree import Element

import numpy as np
from numpy.typing import NDArray

from bertwire_export.report.confusion import confusion_plot, confusion_table, most_confused
from bertwire_export.report.evidence import Evidence
from bertwire_export.report.markup import element, name, shortened, table
from bertwire_export.report.plots import MOST_POINTS, length_plot, reliability_plot, scatter_plot
from bertwire_export.report.svg import inline_svg
from bertwire_runtime.bundle.manifest import Manifest

# Texts a batch, for the share of padding.
_BATCH = 32


def calibration(manifest: Manifest, evidence: Evidence) -> list[Element]:
    """The reliability diagram and the temperature."""
    if evidence.confidence is None or not len(evidence.confidence[0]):
        return []
    fitted = manifest.calibration
    figure = reliability_plot(*evidence.confidence, (fitted.ece_before, fitted.ece_after))
    text = "Of the decisions with a score of 0.8, four in five should be right: the line should follow the diagonal."
    if manifest.task == "single_label":
        text += f" The logits are divided by the temperature {fitted.temperature:.4f} before the softmax."
    return [element("p", text), element("figure", inline_svg(figure, "reliability", "Reliability of the scores"))]


def confusion(manifest: Manifest, evidence: Evidence) -> list[Element]:
    """The confusion matrix and the most frequent confusions."""
    counts = evidence.confusion
    if counts is None or not counts.any():
        return []
    names = manifest.labels
    figure = confusion_plot(counts, names)
    text = f"Of {manifest.variants[0].name} on dev. Each row shows where the decisions of one true label went."
    if len(most_confused(counts)) < len(names):
        text += f" Only the {len(most_confused(counts))} labels that are confused most are drawn."
    frequent = confusion_table(counts, names)
    return [
        element("p", text),
        element("figure", inline_svg(figure, "confusion", "Confusion matrix"), class_="large"),
        element("h3", "The most frequent confusions") if frequent is not None else element("p", "None was confused."),
        *([] if frequent is None else [frequent]),
    ]


def labels(manifest: Manifest, evidence: Evidence) -> list[Element]:
    """Precision, recall and F1 of each label, the worst first, and the thresholds of multi_label."""
    parts: list[Element] = []
    if evidence.per_label:
        worst_first = sorted(evidence.per_label, key=lambda each: each[3])
        rows: list[list[Element | str]] = [
            [name(label), f"{precision:.4f}", f"{recall:.4f}", f"{f1:.4f}", f"{support}"]
            for label, precision, recall, f1, support in worst_first
        ]
        parts.append(element("p", f"Of {manifest.variants[0].name} on dev, the lowest F1 first."))
        parts.append(table(("label", "precision", "recall", "F1", "support"), rows))
    if manifest.calibration.thresholds:
        pairs = zip(manifest.labels, manifest.calibration.thresholds, strict=True)
        parts.append(element("h3", "Thresholds"))
        parts.append(element("p", "The least score at which a label counts as present."))
        parts.append(table(("label", "threshold"), [[name(label), f"{least:.4f}"] for label, least in pairs]))
    return parts


def lengths(manifest: Manifest, evidence: Evidence) -> list[Element]:
    """The histogram of lengths, and what truncation and padding cost."""
    if not evidence.lengths:
        return []
    tokens = np.array(evidence.lengths, dtype=np.int64)
    cut = np.mean(tokens > manifest.max_length)
    padding = padding_share(tokens, manifest.max_length)
    text = (
        f"{cut:.2%} of the texts are longer than max_length ({manifest.max_length}) and are cut. "
        f"In batches of {_BATCH} in the order of the file, "
        f"{padding:.2%} of the tokens that a padded graph computes are padding."
    )
    figure = length_plot(tokens, manifest.max_length)
    return [element("p", text), element("figure", inline_svg(figure, "lengths", "Histogram of text lengths"))]


def padding_share(lengths: NDArray[np.int64], max_length: int) -> float:
    """The share of padding in batches of 32 texts in the given order, each filled up to its longest text."""
    kept = np.minimum(lengths, max_length)
    batches = [kept[start : start + _BATCH] for start in range(0, len(kept), _BATCH)]
    return 1 - float(kept.sum()) / sum(len(each) * int(each.max()) for each in batches)


def scatter(manifest: Manifest, evidence: Evidence) -> list[Element]:
    """Predicted against true numbers."""
    if evidence.scatter is None or not len(evidence.scatter[0]):
        return []
    true, predicted = evidence.scatter
    figure = scatter_plot(true, predicted, shortened(manifest.labels[0], 40))
    some = f", {MOST_POINTS} of {len(true)} texts" if len(true) > MOST_POINTS else ""
    text = f"Of {manifest.variants[0].name} on dev{some}."
    return [element("p", text), element("figure", inline_svg(figure, "scatter", "Predicted against true numbers"))]
