"""Draw the plots of the report as images that the page holds."""

from collections.abc import Iterator

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from bertwire_data.pages.display import shortened
from bertwire_data.pages.images import drawing, image
from bertwire_data.pages.plots import confusion_matrix, reliability, scatter
from bertwire_export.evidence import Evidence
from bertwire_export.report.context import verdict
from bertwire_runtime.bundle.manifest import Manifest

_COLORS = {"published": "tab:blue", "forced": "tab:orange", "not published": "tab:gray"}


def draw_plots(manifest: Manifest, evidence: Evidence) -> dict[str, str]:
    """Return the plots for which there is something to show, by name, each an SVG image as a `data:` address."""
    with drawing():
        return {name: image(figure) for name, figure in _figures(manifest, evidence)}


def _figures(manifest: Manifest, evidence: Evidence) -> Iterator[tuple[str, Figure]]:
    if any(proof.speed.cpu_ms_per_text for each in (*manifest.variants, *manifest.candidates) for proof in each.proofs):
        yield "cost", _cost(manifest)
    if evidence.confidence is not None and len(evidence.confidence[0]):
        fitted = manifest.calibration
        before, after, right = evidence.confidence
        series = [("before calibration", before, "tab:orange", fitted.ece_before)]
        series.append(("after calibration", after, "tab:blue", fitted.ece_after))
        same = [("scores", after, "tab:blue", fitted.ece_after)]
        yield "reliability", reliability(same if np.array_equal(before, after) else series, right)
    if evidence.confusion is not None and evidence.confusion.any():
        yield "confusion", confusion_matrix(evidence.confusion, manifest.labels)
    if evidence.lengths:
        yield "lengths", _lengths(np.array(evidence.lengths), evidence.most)
    if evidence.scatter is not None and len(evidence.scatter[0]):
        yield "scatter", scatter(*evidence.scatter, shortened(manifest.labels[0], 40))


def _cost(manifest: Manifest) -> Figure:
    """Plot the main metric on dev against CPU-milliseconds a text, one named point a graph."""
    metric, reference = next(iter(manifest.provenance.reference.dev.items()))
    points = [
        (proof.speed.cpu_ms_per_text, proof.dev.scores[metric], candidate.name, verdict(candidate))
        for candidate in (*manifest.variants, *manifest.candidates)
        for proof in candidate.proofs
        if proof.speed.cpu_ms_per_text is not None
    ]
    figure = Figure((8, 4.5))
    axes = figure.subplots()
    axes.axhline(reference, color="black", linewidth=1, linestyle="--", label=f"PyTorch: {reference:.4f}")
    for kind in dict.fromkeys(each[3] for each in points):
        chosen = [each for each in points if each[3] == kind]
        costs, scores = [each[0] for each in chosen], [each[1] for each in chosen]
        axes.plot(costs, scores, "o", color=_COLORS[kind], label=kind)
    # The names stand in a column beside the axes, in the order of the scores, so that none lies over another.
    for rank, (cost, score, name, kind) in enumerate(sorted(points, key=lambda each: each[1])):
        line = {"arrowstyle": "-", "color": _COLORS[kind], "alpha": 0.5}
        beside = (1.03, (rank + 0.5) / len(points))
        label = axes.annotate(shortened(name, 40), (cost, score), beside, textcoords="axes fraction", arrowprops=line)
        label.set_verticalalignment("center")
    axes.set(xlabel="CPU-milliseconds a text, one thread", ylabel=f"{metric} on dev")
    axes.set_xlim(left=0)
    axes.margins(y=0.2)
    axes.legend(ncols=4, loc="lower left", bbox_to_anchor=(0, 1))
    return figure


def _lengths(lengths: NDArray[np.int64], read: int) -> Figure:
    """Plot how many texts have how many tokens; those of more than twice as many as are `read` are in the last bar."""
    figure = Figure((8, 3.5))
    axes = figure.subplots()
    most = 2 * read
    axes.hist(np.minimum(lengths, most), bins=60)
    axes.axvline(read, color="tab:orange", label=f"read: {read}")
    axes.legend(loc="upper right")
    axes.set(xlabel=f"tokens ({most} and more in the last bar)" if lengths.max() > most else "tokens", ylabel="texts")
    return figure
