"""Whether more labels still help, by the checkpoints of the last rounds."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from bertwire_core.errors import UserError
from bertwire_data.labelled import MAIN_METRIC
from bertwire_trainer.messages import metric_name
from bertwire_trainer.record import TrainingRecord

# What the main figure of dev must gain in two rounds for labels to be worth their price; halved, noise of a dev set of
# some thousand texts passes for a gain more often than not.
_GAIN = 0.005
# Share of predictions that must change from one round to the next; halved, training alone, with other random numbers
# and the same labels, changes more.
_CHANGED = 0.02
# Of the standard deviation of the predictions, what a number must move by to count as changed.
_MOVED = 0.1


@dataclass(frozen=True, slots=True)
class Round:
    """A checkpoint and its record."""

    folder: Path
    record: TrainingRecord


def read_round(folder: Path) -> Round:
    """Return a checkpoint's record; raise `UserError` where it is not of this version of bertwire."""
    path = folder / "training.json"
    try:
        return Round(folder, TrainingRecord.model_validate_json(path.read_bytes()))
    except ValidationError as error:
        fault = error.errors()[0]
        where = ".".join(map(str, fault["loc"])) or "the file"
        raise UserError(
            f"{path} is not what this version of bertwire writes: {where}: {fault['msg']}; train again"
        ) from error


def read_rounds(folder: Path, last: Round) -> list[Round]:
    """Return the checkpoints in a folder that were trained on fewer rows than `last`, by rows, and `last`.

    Raises:
        UserError: the folder is missing, or a checkpoint is of another task.
    """
    if not folder.is_dir():
        raise UserError(f"--rounds {folder}: no such folder")
    found = [read_round(path.parent) for path in sorted(folder.glob("*/training.json"))]
    for each in found:
        if each.record.task != last.record.task:
            raise UserError(
                f"--rounds {folder}: {each.folder.name} is for {each.record.task}, and {last.folder.name} for "
                f"{last.record.task}; keep one task a folder"
            )
    earlier = (each for each in found if _rows(each) < _rows(last))
    return [*sorted(earlier, key=_rows), last]


def by_dev(rounds: Sequence[Round]) -> str | None:
    """Return what the dev scores say in one line; None where the last three rounds lack one dev set in common."""
    last = [each.record for each in rounds[-3:]]
    if len(last) < 3 or len({each.data["dev"].sha256 for each in last}) > 1:
        return None
    metric = MAIN_METRIC[last[0].task]
    scores = [each.metrics["dev"][metric] for each in last]
    trend = " -> ".join(f"{score:.4f}" for score in scores)
    rows = " -> ".join(f"{each.data['train'].rows:,}" for each in last)
    gain = scores[-1] - scores[0]
    what = f"dev {metric_name(metric)} {trend} with {rows} rows"
    return f"{what}: {gain:+.4f} in two rounds, {_verdict(gain >= _GAIN, f'{_GAIN}')}"


def by_change(before: Sequence[Any], now: Sequence[Any], rounds: Sequence[Round]) -> str:
    """Return what the decisions of the last two rounds for the same unlabelled texts say in one line."""
    share = _share_changed(before, now)
    one, other = (each.folder.name for each in rounds[-2:])
    return f"{share:.1%} of predictions changed from {one} to {other}: {_verdict(share >= _CHANGED, f'{_CHANGED:.0%}')}"


def _verdict(helps: bool, limit: str) -> str:
    return f"at least {limit}, more labels still help" if helps else f"less than {limit}, more labels hardly help"


def _share_changed(before: Sequence[Any], now: Sequence[Any]) -> float:
    import numpy

    if isinstance(now[0], float):
        changed = numpy.abs(numpy.subtract(now, before)) > _MOVED * numpy.std(now)
        return float(changed.mean())
    return sum(bool(one != other) for one, other in zip(before, now, strict=True)) / len(now)


def _rows(of: Round) -> int:
    return of.record.data["train"].rows
