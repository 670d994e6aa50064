"""The curves of training, from what it wrote for TensorBoard."""

import math
from pathlib import Path

from matplotlib.figure import Figure
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from bertwire_data.labelled import MAIN_METRIC
from bertwire_data.pages.images import image
from bertwire_trainer.messages import metric_name
from bertwire_trainer.report.material import Material
from bertwire_trainer.report.section import Plot, Section

# Of a curve its steps and values.
Curve = tuple[list[int], list[float]]
_TITLE = "Curves"
# Values of a curve below which each is a dot; with many more dots the curve is hidden.
_FEW_STEPS = 30


def curves(material: Material) -> list[Section]:
    """Return the section of the losses, the score on dev and the learning rate, of every training of the run."""
    logs, metric = material.folder / "logs", MAIN_METRIC[material.job.data.task]
    folders = sorted({path.parent for path in logs.rglob("events.out.tfevents.*")})
    read = {str(folder.relative_to(logs)): _read(folder) for folder in folders}
    found = {name: tags for name, tags in read.items() if tags}
    if not found:
        return [Section(_TITLE, f"None: {material.record['method']} logs no steps.")]
    plots = [Plot(image(_plot(tags, metric)), f"Curves of {name}") for name, tags in found.items()]
    remark = f"In this order, of these folders of logs/: {', '.join(found)}." if len(found) > 1 else ""
    return [Section(_TITLE, remark, plots, figures=found)]


def _read(folder: Path) -> dict[str, Curve]:
    """Return the curves of a folder by TensorBoard's tags.

    Of a step that was written twice the last value counts; one that is not finite is left out, for JSON has none.
    """
    events = EventAccumulator(str(folder), size_guidance={"scalars": 0}).Reload()
    tags = {
        tag: {each.step: each.value for each in events.Scalars(tag) if math.isfinite(each.value)}
        for tag in events.Tags()["scalars"]
    }
    return {tag: ([*values], [*values.values()]) for tag, values in tags.items()}


def _plot(tags: dict[str, Curve], metric: str) -> Figure:
    score = metric_name(metric)
    panels = {
        "loss": {"train": "train/loss", "dev": "eval/loss"},
        f"{score} on dev": {score: f"eval/{metric}"},
        "learning rate": {"learning rate": "train/learning_rate"},
    }
    # Trainer writes the epoch of a step beside each of its values.
    epochs = dict(zip(*tags.get("train/epoch", ((), ())), strict=True))
    drawn = {title: lines for title, lines in panels.items() if any(tag in tags for tag in lines.values())}
    figure = Figure((4.5 * max(len(drawn), 1), 3.4), layout="constrained")
    for axes, (title, lines) in zip(
        figure.subplots(1, len(drawn), squeeze=False)[0] if drawn else (), drawn.items(), strict=True
    ):
        for name, tag in lines.items():
            if tag in tags:
                steps, values = tags[tag]
                places = [epochs.get(step, step) for step in steps]
                axes.plot(places, values, "o-" if len(steps) < _FEW_STEPS else "-", markersize=3, label=name)
        axes.set(title=title, xlabel="epoch" if epochs else "step")
        if len(lines) > 1:
            axes.legend()
    return figure
