"""Scores of groups of texts, and how far they lie apart."""

from typing import Any

import numpy

from bertwire_trainer.messages import metric_name
from bertwire_trainer.trust.answers import Answers
from bertwire_trainer.trust.groups import Grouping
from bertwire_trainer.trust.record import FairnessRecord, GroupRecord
from bertwire_trainer.trust.table import number, table

# Rows below which the rates of a group are chance: one row of 30 is 3 points.
_FEW_ROWS = 30
# Labels up to which the rates of each are recorded. Ten times as many are no table that a person reads.
_MOST_LABELS = 10

# The figures of one group, by the names of `Answers.metrics`.
Figures = dict[str, float]


def fairness(split: str, answers: Answers, grouping: Grouping) -> FairnessRecord:
    """Score each group, and print a table."""
    figures = _figures(answers, grouping)
    groups = [_group(answers, name, int(grouping.members[name].sum()), each) for name, each in figures.items()]
    gaps = {name: _gap([each[name] for each in figures.values()]) for name in answers.metrics()}
    rates = {label: gaps[f"false positive {place}"] for place, label in enumerate(answers.labels)}
    label = max(rates, key=rates.__getitem__, default=None)
    kept = {name: each for name, each in gaps.items() if name in {"score", "accuracy"}}
    if label is not None:
        kept["false_positive_rate"] = rates[label]
    found = FairnessRecord(
        split=split, groups_by=grouping.by, metric=answers.metric, groups=groups, gaps=kept, label=label
    )
    _print(found)
    return found


def _figures(answers: Answers, grouping: Grouping) -> dict[str, Figures]:
    """Return the figures of each group; a row that is in several groups counts in each."""
    from fairlearn.metrics import MetricFrame

    places = [numpy.flatnonzero(each) for each in grouping.members.values()]
    names = numpy.repeat([*grouping.members], [len(each) for each in places])
    rows = numpy.concatenate(places)
    frame: Any = MetricFrame(metrics=answers.metrics(), y_true=rows, y_pred=rows, sensitive_features=names)
    by_group = frame.by_group.to_dict("index")
    return {name: {key: float(value) for key, value in by_group[name].items()} for name in grouping.members}


def _gap(values: list[float]) -> float:
    """Return the largest difference of two values that are no NaN."""
    known = [each for each in values if not numpy.isnan(each)]
    return max(known) - min(known) if known else 0.0


def _group(answers: Answers, name: str, rows: int, figures: Figures) -> GroupRecord:
    labels = answers.labels if len(answers.labels) <= _MOST_LABELS else []
    false_positive = {label: figures[f"false positive {place}"] for place, label in enumerate(labels)}
    return GroupRecord(
        name=name,
        rows=rows,
        score=figures["score"],
        accuracy=figures.get("accuracy"),
        selection_rate={label: figures[f"selected {place}"] for place, label in enumerate(labels)},
        false_positive_rate={label: None if numpy.isnan(each) else each for label, each in false_positive.items()},
        remark=f"fewer than {_FEW_ROWS} rows: its figures may be chance" if rows < _FEW_ROWS else "",
    )


def _print(found: FairnessRecord) -> None:
    lines = [(f"{found.groups_by} of {found.split}", "texts", metric_name(found.metric), "accuracy", "")]
    lines += [
        (each.name, str(each.rows), number(each.score), number(each.accuracy), each.remark) for each in found.groups
    ]
    rate = found.gaps.get("false_positive_rate")
    remark = "" if rate is None else f"false positive rate of {found.label!r}: {rate:.4f}"
    lines.append(("largest difference", "", number(found.gaps["score"]), number(found.gaps.get("accuracy")), remark))
    table(lines)
