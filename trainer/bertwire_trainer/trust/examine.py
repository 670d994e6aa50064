"""What is measured beside the scores on dev and test."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from bertwire_core.errors import UserError
from bertwire_data.labelled import MAIN_METRIC
from bertwire_trainer import ranks
from bertwire_trainer.messages import metric_name, note
from bertwire_trainer.trust.answers import Answers
from bertwire_trainer.trust.deal import folds_of
from bertwire_trainer.trust.fairness import fairness
from bertwire_trainer.trust.groups import groupings
from bertwire_trainer.trust.intervals import MOST_ROWS, intervals
from bertwire_trainer.trust.record import FairnessRecord, FoldsRecord, Intervals, TrustRecord
from bertwire_trainer.trust.terms import read_terms

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from bertwire_trainer.data import Data
    from bertwire_trainer.method import Fitted, Job, MethodOptions
    from bertwire_trainer.trust.options import TrustOptions

    # Logits of dev and test, by name.
    Logits = Mapping[str, NDArray[Any]]

# Rows of dev below which folds are recommended: its interval is then some 7 points to either side.
_FEW_ROWS = 200


def require_measurable(options: "TrustOptions", data: "Data", seed: int, method: "MethodOptions") -> None:
    """Raise `UserError` where what the options ask for cannot be measured on these rows, before PyTorch is loaded.

    Args:
        options: the options.
        data: the labelled rows.
        seed: of the folds.
        method: the options of the method, which every fold must suit.
    """
    options.require_packages()
    read_terms(options.identity_terms)
    if options.folds is not None:
        ranks.require_one("--folds")
        method.require_folds()
        for fold in folds_of(data, options.folds, seed):
            try:
                method.require_data(fold.data)
            except UserError as error:
                raise UserError(f"--folds {options.folds}: {error}") from error


def examine(
    options: "TrustOptions", job: "Job", fitted: "Fitted", logits: "Logits", folds: FoldsRecord | None
) -> TrustRecord:
    """Measure what the options ask for on the trained model, and print it.

    Args:
        options: the options.
        job: the job, with dev and test.
        fitted: the trained model, on the device that it answers on.
        logits: its logits of dev and test.
        folds: what `cross_validate` gave, for the record.
    """
    from bertwire_trainer.trust.robustness import Robustness

    found = _intervals(job, logits)
    if folds is None and len(job.data.dev) < _FEW_ROWS:
        _recommend_folds(job, found["dev"])
    return TrustRecord(
        intervals=found,
        folds=folds,
        robustness=Robustness(job, fitted).run() if options.robustness else [],
        fairness=_fairness(options, job, logits),
    )


def _intervals(job: "Job", logits: "Logits") -> dict[str, Intervals]:
    data = job.data
    return {
        name: intervals(data.task, logits[name], data.targets[name], data.labels, split.words(), job.seed)
        for name, split in data.held_out().items()
        if len(split) < MOST_ROWS
    }


def _recommend_folds(job: "Job", found: Intervals) -> None:
    metric = MAIN_METRIC[job.data.task]
    low, high = found[metric]
    note(
        f"dev has {len(job.data.dev)} rows: the 95% interval of its {metric_name(metric)} is {low:.4f} to {high:.4f}; "
        "--folds 5 measures the method better"
    )


def _fairness(options: "TrustOptions", job: "Job", logits: "Logits") -> list[FairnessRecord]:
    if not (options.fairness_column or options.identity_terms):
        return []
    data, terms = job.data, read_terms(options.identity_terms)
    found = []
    for name, split in data.held_out().items():
        answers = Answers(split, logits[name], data.targets[name], data.labels)
        found += [fairness(name, answers, each) for each in groupings(split, options.fairness_column, terms)]
    if not found:
        note("no text of dev or test has a word of --identity-terms")
    return found
