"""What one row of dev is worth: a limit that is finer would be broken by chance."""

import numpy as np

from bertwire_data.labelled import row_sums, scores_of, turned
from bertwire_export.examples import Examples, Logits
from bertwire_export.tasks import TASK_EXPORTS
from bertwire_runtime.bundle import AGREEMENT, Scores

# Texts up to which it is computed; of ten times as many and 100 labels the counts are 2 GB, and a row is worth little.
_MOST_TEXTS = 10_000


def one_row(examples: Examples, logits: Logits, thresholds: tuple[float, ...] | None) -> Scores:
    """Return the most that one row is worth in each score that the gate compares, and in the label agreement.

    Of a score it is the most that it falls where the least certain decision of one text is another one: accuracy by
    1 / texts, macro-F1 by more, for a rare label. Of a correlation it is the most that it changes without one text. Of
    the agreement it is one decision. Nothing for more than 10,000 texts.

    Args:
        examples: the rows.
        logits: PyTorch's, as `Examples.decided` returns them.
        thresholds: those of the calibration, or None.
    """
    labelled, task = examples.labelled, TASK_EXPORTS[examples.labelled.task]
    if len(labelled) > _MOST_TEXTS:
        return {}

    def sums(of: Logits) -> np.ndarray:
        return row_sums(labelled.task, of, examples.targets, examples.labels, labelled.words(), thresholds)

    own = sums(logits)
    other = turned(labelled.task, logits, labelled.words(), thresholds)
    changed = own.sum(axis=0) - own + (0 if other is None else sums(other))
    before, after = scores_of(labelled.task, own.sum(axis=0)), scores_of(labelled.task, changed)
    drops = {metric: before[metric] - after[metric] for metric in before if metric in task.compared}
    worth = {metric: float(max(0.0, (np.abs(each) if other is None else each).max())) for metric, each in drops.items()}
    decided = task.decide(logits, thresholds)
    return worth if decided is None else worth | {AGREEMENT: 1 / decided.size}
