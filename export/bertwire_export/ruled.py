"""Check a file of rules against the model, and measure what they change."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from bertwire_core.console import err
from bertwire_core.errors import UserError
from bertwire_core.tasks import ServedTask
from bertwire_export.reference import Reference, SplitReference
from bertwire_export.tasks import TASK_EXPORTS
from bertwire_runtime.bundle.manifest import RulesEffect
from bertwire_runtime.rules import RuleSet, RulesFaulty


@dataclass(frozen=True)
class RuleFile:
    """A file of rules without faults."""

    content: bytes
    rules: RuleSet


@dataclass(frozen=True)
class Ruled:
    """A file of rules, and what they change on the splits."""

    file: RuleFile
    dev: RulesEffect
    test: RulesEffect | None


def read_rule_file(path: Path | None, task: ServedTask, labels: list[str]) -> RuleFile | None:
    """Read a file of rules; None where there is none.

    Raises:
        UserError: it has faults; several are printed, one line each.
    """
    if path is None:
        return None
    content = path.read_bytes()
    try:
        return RuleFile(content, RuleSet(content, task, labels))
    except RulesFaulty as error:
        if len(error.faults) == 1:
            raise UserError(f"{path}: {error}") from None
        for fault in error.faults:
            err.print(f"{path}: {fault}", markup=False, highlight=False, soft_wrap=True)
        raise UserError(f"{path} has {len(error.faults)} faults, named above; mend them") from None


def measure_rules(file: RuleFile | None, reference: Reference) -> Ruled | None:
    """Return what rules change on dev and test, by PyTorch's logits; None without rules."""
    if file is None:
        return None
    thresholds = reference.calibration.thresholds
    test = None if reference.test is None else _effect(file.rules, reference.test, thresholds)
    return Ruled(file, _effect(file.rules, reference.dev, thresholds), test)


def _effect(rules: RuleSet, split: SplitReference, thresholds: tuple[float, ...]) -> RulesEffect:
    examples, limits = split.examples, thresholds or None
    texts = [each if isinstance(each, str) else (each[0], each[1]) for each in examples.labelled.inputs]
    matched = [rules.matching(text) for text in texts]
    logits = np.stack(
        [rules.adjusted(found, row) if found else row for found, row in zip(matched, split.logits, strict=True)]
    )
    decide = TASK_EXPORTS[examples.labelled.task].decide
    before, after = (np.asarray(decide(each, limits)).reshape(len(texts), -1) for each in (split.logits, logits))
    return RulesEffect(
        matched=tuple(sum(rule in found for found in matched) for rule in rules.rules),
        changed=int((before != after).any(axis=1).sum()),
        scores=examples.score(logits, limits),
    )
