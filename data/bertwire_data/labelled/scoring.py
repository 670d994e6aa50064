"""Encode targets, decide by logits and score decisions, for every task."""

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from bertwire_core.errors import UserError
from bertwire_core.tasks import Task, TaskTable
from bertwire_data.labelled.rows import Labelled, names_of
from bertwire_data.tasks import TASK_ROWS
from bertwire_data.tasks.base import Target
from bertwire_data.tasks.label_names import natural_order

if TYPE_CHECKING:
    from numpy.typing import NDArray

# The first score of each task, which chooses between models.
MAIN_METRIC: TaskTable[str] = TaskTable({task: rows.metrics[0][0] for task, rows in TASK_ROWS.items()})
# The name of every score in print.
METRIC_NAMES = {metric: name for rows in TASK_ROWS.values() for metric, name in rows.metrics}


def label_order(names: Iterable[str], task: Task | None = None) -> list[str]:
    """Return the distinct label names in the model's order.

    Numbers count by value, so that `class 2` comes before `class 10`. For token classification `O` comes first, then
    `B-X` and, where it occurs, `I-X` for each type X; `O`, and `B-X` beside an `I-X`, are there even if no word has
    them, so that every sequence of entities can be written. Without a task the names are in natural order.
    """
    return natural_order(names) if task is None else TASK_ROWS[task].order(names)


def encode_targets(labelled: Labelled, labels: list[str]) -> "NDArray[Any]":
    """Return the targets by the index of each name in `labels`.

    Returns:
        single_label: int64 [texts]. multi_label: float32 [texts, labels], 1 for a label of the text, else 0.
        token_classification: int64 [words of all texts], in order. regression: float64 [texts].

    Raises:
        UserError: a label is not one of `labels`.
    """
    ids = {label: index for index, label in enumerate(labels)}
    _require_known(labelled, ids)
    return TASK_ROWS[labelled.task].encode(labelled.targets, ids)


def decisions(
    task: Task,
    logits: "NDArray[Any]",
    labels: list[str],
    words: list[int] | None = None,
    thresholds: Sequence[float] | None = None,
) -> list[Any]:
    """Return what a model decides, in the form of the targets of `Labelled`.

    Args:
        task: the task of the logits.
        logits: floats [texts, labels]; [words of all texts, labels] for token classification; [texts, 1] or [texts]
            for regression.
        labels: label names in the order of the logits.
        words: number of words of each text, for token classification.
        thresholds: for multi_label the sigmoid from which on each label is chosen; None: 0.5 for all.

    Returns:
        For each text its best label, its labels, its words' best tags, or its number.
    """
    return TASK_ROWS[task].decide(logits, labels, words, thresholds)


def score(
    task: Task,
    logits: "NDArray[Any]",
    targets: "NDArray[Any]",
    labels: list[str],
    words: list[int] | None = None,
    thresholds: Sequence[float] | None = None,
) -> dict[str, float]:
    """Return the scores of `logits` against the `targets` of `encode_targets`, the main metric first.

    A word that the model did not read, since its text was cut, has no logits: pass `outside_row(labels)` for it, so
    that its entities count as missed.

    Args:
        task: the task of the logits.
        logits: as for `decisions`; finite.
        targets: as `encode_targets` gives them.
        labels: label names in the order of the logits.
        words: number of words of each text, for token classification.
        thresholds: as for `decisions`.

    Returns:
        single_label: `macro_f1` (over the labels that occur, as label or as decision), `accuracy`. multi_label:
        `micro_f1`, `macro_f1` (likewise), `subset_accuracy` (texts whose labels are all right). token_classification:
        `f1`, `precision`, `recall` of whole entities (see `bertwire_core.tags.spans`; CoNLL-2003's exact match).
        regression: `pearson`, `spearman` (0 where numbers or predictions are all the same), `mae` (mean
        absolute error).
    """
    return TASK_ROWS[task].score(logits, targets, labels, words, thresholds)


def _require_known(labelled: Labelled, ids: dict[str, int]) -> None:
    unknown: dict[int, str] = {}
    names: set[str] = set()
    targets: Sequence[Target] = labelled.targets
    for row, target in zip(labelled.rows, targets, strict=True):
        if missing := [name for name in names_of(target) if name not in ids]:
            unknown[row] = missing[0]
            names.update(missing)
    if unknown:
        row, label = next(iter(unknown.items()))
        also = f" (and {len(names) - 1} more such label{'s' * (len(names) > 2)})" if len(names) > 1 else ""
        raise UserError(
            f"{labelled.source} has label {label!r}{also}, which train lacks, in {len(unknown)} "
            f"row{'s' * (len(unknown) > 1)}, first in row {row}; add it to train or remove those rows"
        )
