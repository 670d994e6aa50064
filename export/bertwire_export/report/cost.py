"""The plot of quality against cost, one labelled point a graph."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, NullFormatter, NullLocator
from matplotlib.transforms import Bbox, BboxBase

from bertwire_export.report.markup import shortened
from bertwire_export.report.svg import BLUE, INK, ORANGE
from bertwire_export.report.verdicts import verdict
from bertwire_runtime.bundle.manifest import Manifest

_MARKS = {"published": ("o", BLUE, BLUE), "forced": ("D", ORANGE, ORANGE), "not published": ("o", "none", INK)}
# In points: how far from its own point a label may move before it is drawn over another.
_DISTANCES = (8, 16, 26, 38, 52, 68, 86)
_DIRECTIONS = (
    (1, 0, "left"),
    (0, 1, "center"),
    (0, -1, "center"),
    (-1, 0, "right"),
    (0.7, 1, "left"),
    (0.7, -1, "left"),
)


@dataclass(frozen=True, slots=True)
class _Point:
    name: str
    cost: float
    score: float
    verdict: str


def cost_plot(manifest: Manifest) -> Figure | None:
    """The first score on dev against CPU-milliseconds a text, or None where nothing was timed on the CPU."""
    points = list(_points(manifest))
    if not points:
        return None
    metric, reference = next(iter(manifest.provenance.reference.dev.items()))
    figure = Figure((8, 4.5))
    axes = figure.add_subplot()
    axes.axhline(reference, color=INK, linewidth=1, linestyle="--", label=f"PyTorch: {reference:.4f}")
    for kind, (marker, face, edge) in _MARKS.items():
        chosen = [each for each in points if each.verdict == kind]
        if chosen:
            costs, scores = [each.cost for each in chosen], [each.score for each in chosen]
            axes.plot(costs, scores, marker, mfc=face, mec=edge, markersize=7, label=kind)
    _scale(axes, [each.cost for each in points], [reference, *(each.score for each in points)])
    axes.set_xlabel("CPU-milliseconds a text, one thread (logarithmic)")
    axes.set_ylabel(f"{metric} on dev")
    axes.grid()
    axes.legend(ncols=4, loc="lower left", bbox_to_anchor=(0, 1))
    _place_labels(figure, axes, points, reference)
    return figure


def _points(manifest: Manifest) -> Iterator[_Point]:
    metric = next(iter(manifest.provenance.reference.dev))
    for candidate in (*manifest.variants, *manifest.candidates):
        for proof in candidate.proofs:
            cost, score = proof.speed.cpu_ms_per_text, proof.dev.scores.get(metric)
            if cost is not None and score is not None:
                yield _Point(candidate.name, cost, score, verdict(candidate))


def _scale(axes: Axes, costs: Sequence[float], scores: Sequence[float]) -> None:
    low, high = min(costs) / 1.6, max(costs) * 1.6
    axes.set_xscale("log")
    axes.set_xlim(low, high)
    axes.xaxis.set_major_locator(FixedLocator(_ticks(low, high)))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_minor_formatter(NullFormatter())
    # matplotlib's own formatter writes powers in mathematical notation, which text here is not read as.
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    margin = max(0.3 * (max(scores) - min(scores)), 0.002)
    axes.set_ylim(min(scores) - margin, max(scores) + margin)


def _ticks(low: float, high: float) -> list[float]:
    """Round numbers on a logarithmic axis: the wider it is, the fewer of them a decade."""
    ratio = high / low
    steps = (1, 1.5, 2, 3, 4, 5, 7) if ratio < 10 else (1, 2, 5) if ratio < 1000 else (1,)
    ticks = [float(f"{step}e{power}") for power, step in product(range(-6, 9), steps)]
    return [each for each in ticks if low <= each <= high]


def _place_labels(figure: Figure, axes: Axes, points: Sequence[_Point], reference: float) -> None:
    """Puts each name at the nearest place around its point that neither a name, a point nor PyTorch's line takes."""
    figure.draw_without_rendering()  # settles the scales
    centres = [axes.transData.transform((each.cost, each.score)) for each in points]
    taken: list[BboxBase] = [Bbox.from_extents(x - 5, y - 5, x + 5, y + 5) for x, y in centres]
    level = axes.transData.transform((points[0].cost, reference))[1]
    taken.append(Bbox.from_extents(axes.bbox.x0, level - 1, axes.bbox.x1, level + 1))
    for point in points:
        place = (point.cost, point.score)
        label = axes.annotate(shortened(point.name, 40), place, (0, 0), textcoords="offset points", va="center")
        for distance, (right, up, side) in product(_DISTANCES, _DIRECTIONS):
            offset = (right * distance, up * max(distance, 12))
            label.set(position=offset, horizontalalignment=side)
            box = label.get_window_extent().padded(2)
            if _lies_in(box, axes.bbox) and not box.count_overlaps(taken):
                break
        taken.append(box)
        if distance > _DISTANCES[0]:
            line = {"arrowstyle": "-", "color": INK, "alpha": 0.4, "linewidth": 0.7, "shrinkA": 6, "shrinkB": 5}
            axes.annotate("", place, offset, textcoords="offset points", arrowprops=line)


def _lies_in(box: BboxBase, frame: BboxBase) -> bool:
    return bool(frame.x0 <= box.x0 and box.x1 <= frame.x1 and frame.y0 <= box.y0 and box.y1 <= frame.y1)
