"""Cross-validation: the method is fitted without each fold of train and dev, and scored on it."""

import random
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy
import torch
from numpy.typing import NDArray
from transformers import set_seed

from bertwire_core.files import whole_file
from bertwire_data.labelled import MAIN_METRIC, Labelled, encode_targets
from bertwire_trainer.messages import figures, metric_name, note, say
from bertwire_trainer.predict import predict
from bertwire_trainer.scores import measure
from bertwire_trainer.tokens import tokenize
from bertwire_trainer.trust.deal import Fold, folds_of
from bertwire_trainer.trust.intervals import intervals
from bertwire_trainer.trust.record import FoldsRecord

if TYPE_CHECKING:
    from bertwire_trainer.data import Data
    from bertwire_trainer.method import Job
    from bertwire_trainer.stage import Fit


def cross_validate(job: "Job", fit: "Fit", count: int) -> FoldsRecord:
    """Fit copies of the model without each fold, score these, and print the result; `job` stays as it is.

    The interval is that of all rows together, each scored by a model that did not learn it. Student's t over the folds
    would have `count` numbers to go by, which are not independent, and for few folds is wide by chance; the pooled rows
    give an interval that is right for many rows (Bayle et al. 2020).

    Args:
        job: the job; logits of finished folds lie in its `epochs / folds`, so that a resumed run does not repeat them.
        fit: the method with its stages.
        count: number of folds.
    """
    folds = [*folds_of(job.data, count, job.seed)]
    held = [each.held for each in folds]
    targets = [encode_targets(each, job.data.labels) for each in held]
    logits = []
    with _random_as_before():
        for number, (fold, right) in enumerate(zip(folds, targets, strict=True), 1):
            logits.append(_logits(job, fit, f"fold {number} of {count}", fold))
            note(f"fold {number} of {count}: {figures(_measure(job, fold.held, logits[-1], right))}")
    found = _record(job, held, logits, targets)
    _print(found, MAIN_METRIC[job.data.task])
    return found


def _logits(job: "Job", fit: "Fit", title: str, fold: Fold) -> NDArray[numpy.float32]:
    """Return the logits of a fold by a model that learnt the others, or those that a run before has left."""
    folder = job.epochs / "folds" / title.replace(" ", "-")
    kept = folder.with_suffix(".npy")
    if kept.exists():
        logits: NDArray[numpy.float32] = numpy.load(kept, allow_pickle=False)
        return logits
    # A resumed run comes here with other random numbers drawn.
    set_seed(job.seed)
    fitted = fit(_job(job, fold.data, folder))
    fitted.model.to("cuda" if torch.cuda.is_available() else "cpu")  # type: ignore[arg-type]  # transformers' decorator hides the signature
    tokens = tokenize(fitted.model, fitted.tokenizer, fold.held, encode_targets(fold.held, job.data.labels))
    logits = predict(fitted.model, fitted.tokenizer, tokens, job.data.labels, title)
    kept.parent.mkdir(parents=True, exist_ok=True)
    with whole_file(kept) as file, file.open("wb") as written:
        numpy.save(written, logits, allow_pickle=False)
    shutil.rmtree(folder, ignore_errors=True)
    return logits


def _job(job: "Job", data: "Data", folder: Path) -> "Job":
    splits = {"train": data.train, "dev": data.dev}
    return replace(
        job,
        data=data,
        model=deepcopy(job.model),
        tokens={name: tokenize(job.model, job.tokenizer, split, data.targets[name]) for name, split in splits.items()},
        epochs=folder,
        logs=folder / "logs",
    )


def _record(
    job: "Job",
    held: list[Labelled],
    logits: list[NDArray[numpy.float32]],
    targets: list[NDArray[Any]],
) -> FoldsRecord:
    scores = [_measure(job, *each) for each in zip(held, logits, targets, strict=True)]
    words = [count for each in held for count in each.words() or ()] or None
    pooled = (job.data.task, numpy.concatenate(logits), numpy.concatenate(targets), job.data.labels, words)
    return FoldsRecord(
        folds=len(held),
        rows=sum(map(len, held)),
        unscored=len(job.data.train) + len(job.data.dev) - sum(map(len, held)),
        scores=scores,
        mean={metric: float(numpy.mean([each[metric] for each in scores])) for metric in scores[0]},
        pooled=measure(*pooled),
        intervals=intervals(*pooled, job.seed),
    )


def _measure(job: "Job", rows: Labelled, logits: NDArray[numpy.float32], targets: NDArray[Any]) -> dict[str, float]:
    return measure(job.data.task, logits, targets, job.data.labels, rows.words())


def _print(found: FoldsRecord, metric: str) -> None:
    low, high = found.intervals[metric]
    left_out = f"; {found.unscored} rows whose label no other text has are not scored" if found.unscored else ""
    say(
        f"{found.folds} folds of train and dev: {metric_name(metric)} {found.mean[metric]:.4f} on average, "
        f"{found.pooled[metric]:.4f} on all {found.rows} rows, 95% interval {low:.4f} to {high:.4f}{left_out}"
    )


@contextmanager
def _random_as_before() -> Iterator[None]:
    """Give the random numbers after the block that would have come without it."""
    states = random.getstate(), numpy.random.get_state()
    with torch.random.fork_rng(devices=range(torch.cuda.device_count())):
        yield
    random.setstate(states[0])
    numpy.random.set_state(states[1])
