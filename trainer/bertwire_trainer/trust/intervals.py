"""95% intervals of scores: how far they may lie from those of endlessly many rows like these."""

from typing import Any

import numpy
from numpy.typing import NDArray

from bertwire_core.tasks import Task
from bertwire_data.labelled import row_sums, scores_of
from bertwire_trainer.trust.record import Interval, Intervals

# Rows from which on no interval is computed for dev and test: it is then within some 3 points.
MOST_ROWS = 1000
# Bootstrap samples, and those drawn at a time. With half as many samples the ends move by a tenth of the width.
_SAMPLES, _AT_A_TIME = 1000, 100
# Percentiles of a 95% interval.
_ENDS = (2.5, 97.5)
# Scores that are shares of rows.
_SHARES = frozenset({"accuracy", "subset_accuracy"})


def intervals(
    task: Task, logits: NDArray[Any], targets: NDArray[Any], labels: list[str], words: list[int] | None, seed: int
) -> Intervals:
    """Return the 95% interval of each score, by metric.

    A share of rows has Wilson's interval (Wilson 1927), the others the percentiles of bootstrap samples of the rows
    (Efron 1979). Where a score is 1 in every sample, its lower end is Wilson's for as many rows, all of them right.

    Args:
        task: the task.
        logits: floats [rows of `targets`, labels].
        targets: as `encode_targets` gives them.
        labels: label names in id order.
        words: number of words of each text, for a task by word; else None.
        seed: of the samples.
    """
    sums = row_sums(task, logits, targets, labels, words)
    rows = len(sums)
    found = scores_of(task, sums.sum(axis=0))
    samples = _samples(task, sums, numpy.random.default_rng(seed))
    result: Intervals = {}
    for metric, value in found.items():
        if metric in _SHARES:
            result[metric] = wilson(round(float(value) * rows), rows)
        else:
            low, high = map(float, numpy.percentile(samples[metric], _ENDS))
            result[metric] = (wilson(rows, rows)[0] if low == 1 else low, high)
    return result


def wilson(right: int, rows: int) -> Interval:
    """Return Wilson's 95% interval of a share."""
    from scipy.stats import binomtest

    found = binomtest(right, rows).proportion_ci(0.95, method="wilson")
    return float(found.low), float(found.high)


def _samples(task: Task, sums: NDArray[Any], generator: numpy.random.Generator) -> dict[str, NDArray[Any]]:
    """Return the scores of each bootstrap sample, by metric floats [samples]."""
    rows, flat = len(sums), sums.reshape(len(sums), -1)
    parts = []
    for _ in range(_SAMPLES // _AT_A_TIME):
        times = generator.multinomial(rows, numpy.full(rows, 1 / rows), size=_AT_A_TIME)
        parts.append(scores_of(task, (times @ flat).reshape(_AT_A_TIME, *sums.shape[1:])))
    return {metric: numpy.concatenate([part[metric] for part in parts]) for metric in parts[0]}
