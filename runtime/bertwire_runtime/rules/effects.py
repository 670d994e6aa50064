"""What rules that matched make of a text's logits, by task."""

from collections.abc import Callable, Sequence
from math import inf

import numpy as np

from bertwire_core.tasks import ServedTable, ServedTask
from bertwire_runtime.output import Floats
from bertwire_runtime.rules.rule import Rule

# Changes boosted logits, in place.
Settle = Callable[[Sequence[Rule], Floats], None]


def adjusted(task: ServedTask, matched: Sequence[Rule], logits: Floats) -> Floats:
    """Return the logits, float32 [labels], that give scores and decision where `matched` rules match, in file order.

    A forced label of several has infinity, every other label beside a forced one of exactly one label and every
    forbidden label minus infinity. Where two rules contradict each other, the one that stands first in the file wins.
    """
    changed = logits.astype(np.float32)  # a copy
    for rule in matched:
        changed[rule.label] += np.float32(rule.boost)
    settle = _SETTLE[task]
    assert settle is not None  # noqa: S101 - `takes_rules`
    settle(matched, changed)
    return changed


def takes_rules(task: ServedTask) -> bool:
    """Whether the models of a task can have rules."""
    return _SETTLE[task] is not None


def _settled(matched: Sequence[Rule], *, most_forced: int, most_forbidden: int) -> tuple[list[int], list[int]]:
    """Return the labels that are forced and those that are forbidden."""
    forced, forbidden = list[int](), list[int]()
    for rule in matched:
        if rule.label in forced or rule.label in forbidden:
            continue
        if rule.effect == "force" and len(forced) < most_forced:
            forced.append(rule.label)
        elif rule.effect == "forbid" and len(forbidden) < most_forbidden:
            forbidden.append(rule.label)
    return forced, forbidden


def _one(matched: Sequence[Rule], logits: Floats) -> None:
    # One label is always left.
    forced, forbidden = _settled(matched, most_forced=1, most_forbidden=len(logits) - 1)
    if forced:
        kept = logits[forced[0]]
        logits[:] = -inf
        logits[forced[0]] = kept
    else:
        logits[forbidden] = -inf


def _each(matched: Sequence[Rule], logits: Floats) -> None:
    forced, forbidden = _settled(matched, most_forced=len(logits), most_forbidden=len(logits))
    logits[forced], logits[forbidden] = inf, -inf


_SETTLE: ServedTable[Settle | None] = ServedTable(
    {"single_label": _one, "multi_label": _each, "token_classification": None, "regression": None, "embedding": None}
)
