"""Targets as the numbers that models are trained on and scored against."""

from typing import TYPE_CHECKING, Any, cast

from bertwire_core.errors import UserError
from bertwire_data.labelled.kinds import Labelled

if TYPE_CHECKING:
    from numpy.typing import NDArray


def encode_targets(labelled: Labelled, labels: list[str]) -> "NDArray[Any]":
    """The targets by the index of each name in `labels`.

    Returns:
        single_label: int64 [texts]. multi_label: float32 [texts, labels], 1 for a label of the text, else 0.
        token_classification: int64 [words of all texts], in order. regression: float64 [texts].

    Raises:
        UserError: a label is not one of `labels`.
    """
    import numpy

    if labelled.task == "regression":
        return numpy.asarray(labelled.targets, numpy.float64)
    ids = {label: index for index, label in enumerate(labels)}
    _require_known(labelled, ids)
    if labelled.task == "multi_label":
        marks = numpy.zeros((len(labelled), len(labels)), numpy.float32)
        for mark, names in zip(marks, cast(list[list[str]], labelled.targets), strict=True):
            mark[[ids[name] for name in names]] = 1
        return marks
    return numpy.fromiter((ids[name] for name in labelled.names()), numpy.int64)


def _require_known(labelled: Labelled, ids: dict[str, int]) -> None:
    unknown: dict[int, str] = {}
    names: set[str] = set()
    for row, target in zip(labelled.rows, cast(list[str] | list[list[str]], labelled.targets), strict=True):
        if missing := [name for name in ([target] if isinstance(target, str) else target) if name not in ids]:
            unknown[row] = missing[0]
            names.update(missing)
    if unknown:
        row, label = next(iter(unknown.items()))
        also = f" (and {len(names) - 1} more such label{'s' * (len(names) > 2)})" if len(names) > 1 else ""
        raise UserError(
            f"{labelled.source} has label {label!r}{also}, which train lacks, in {len(unknown)} "
            f"row{'s' * (len(unknown) > 1)}, first in row {row}; add it to train or remove those rows"
        )
