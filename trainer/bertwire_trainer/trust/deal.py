"""Which row is in which fold."""

from collections import Counter
from collections.abc import Hashable, Iterator
from dataclasses import dataclass, replace

import numpy
from numpy.typing import NDArray

from bertwire_core.errors import UserError
from bertwire_data.labelled import Labelled, encode_targets, frozen
from bertwire_data.labelled.rows import names_of
from bertwire_data.tasks.base import Target
from bertwire_trainer.data import Data
from bertwire_trainer.stages.rows import joined
from bertwire_trainer.tasks import SPECS

# The fold of a row that is in none.
NONE = -1
# Of the rows that a fold leaves, at least one in so many chooses the epoch: with one in twice as many, few do.
_MOST_PARTS = 10


@dataclass(frozen=True, slots=True)
class Fold:
    """One fold of train and dev.

    Attributes:
        data: the other rows, of which a share like that of dev is dev.
        held: the rows to score.
    """

    data: Data
    held: Labelled


def folds_of(data: Data, count: int, seed: int) -> Iterator[Fold]:
    """Yield the folds of train and dev together.

    Raises:
        UserError: there are too few texts for so many folds, or too few are left beside one of them.
    """
    rows = joined(data.train, data.dev)
    places = deal(rows, count, seed)
    share = round(len(rows) / len(data.dev))
    for number in range(count):
        rest = _taken(rows, places != number)
        parts = _dealt(rest, max(2, min(share, _MOST_PARTS)), seed)
        train, dev = _taken(rest, parts != 0), _taken(rest, parts == 0)
        if not (len(train) and len(dev)):
            raise UserError(
                f"--folds {count}: fold {number + 1} leaves too few texts a label of {rows.source} to choose an epoch "
                "by; add rows or raise --folds"
            )
        targets = {name: encode_targets(each, data.labels) for name, each in (("train", train), ("dev", dev))}
        others = replace(data, train=train, dev=dev, test=None, targets=targets)
        yield Fold(others, _taken(rows, places == number))


def _taken(rows: Labelled, chosen: NDArray[numpy.bool_]) -> Labelled:
    return rows.take(numpy.flatnonzero(chosen).tolist())


def deal(rows: Labelled, folds: int, seed: int) -> NDArray[numpy.int64]:
    """Return the fold of each row, int64 [rows] from 0; `NONE` for rows that no fold may have.

    The folds are stratified: by the label, by the rarest of several labels or tags, or by the number. Rows of the same
    text are in one fold. With one label a text, no fold has all texts of a label: these are in none.

    Raises:
        UserError: there are fewer distinct texts than folds.
    """
    result = _dealt(rows, folds, seed)
    if empty := folds - len(set(result.tolist()) - {NONE}):
        raise UserError(
            f"{rows.source} has {len({*map(frozen, rows.inputs)})} distinct texts, too few for {folds} folds, of which "
            f"{empty} would be empty; add rows or lower --folds"
        )
    return result


def _dealt(rows: Labelled, folds: int, seed: int) -> NDArray[numpy.int64]:
    """Return the fold of each row, of which some may be empty."""
    groups: dict[Hashable, list[int]] = {}
    for place, each in enumerate(rows.inputs):
        groups.setdefault(frozen(each), []).append(place)
    order = numpy.random.default_rng(seed).permutation(len(groups))
    listed = [*groups.values()]
    counts = Counter(rows.names())
    dealt = sorted((listed[index] for index in order), key=lambda group: _stratum(rows.targets[group[0]], counts))
    result = numpy.full(len(rows), NONE)
    for position, group in enumerate(dealt):
        result[group] = position % folds
    if SPECS[rows.task].classes:
        _keep_labels(rows, dealt, result)
    return result


def _stratum(target: Target, counts: Counter[str]) -> tuple[float, str]:
    """Return what rows are ordered by before they are dealt out in turns."""
    if isinstance(target, float):
        return target, ""
    return min(((counts[name], name) for name in names_of(target)), default=(0, ""))


def _keep_labels(rows: Labelled, groups: list[list[int]], folds: NDArray[numpy.int64]) -> None:
    """Take those groups out of their fold without which the other rows would lack a label."""
    holders: dict[Target, set[int]] = {}
    for target, fold in zip(rows.targets, folds.tolist(), strict=True):
        holders.setdefault(str(target), set()).add(fold)
    for group in groups:
        if any(len(holders[str(rows.targets[place])]) == 1 for place in group):
            folds[group] = NONE
