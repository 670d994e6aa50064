"""What a report is made from: the run, its record, and what the checkpoint says of dev and test."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy
from numpy.typing import NDArray

from bertwire_data.labelled import Labelled
from bertwire_trainer.method import Fitted, Job
from bertwire_trainer.report.kinds import KINDS, Kind
from bertwire_trainer.report.vectors import Vectors
from bertwire_trainer.report.write import Logits


class Held(NamedTuple):
    """The rows of dev or test, their encoded targets, and the logits that the checkpoint gives them.

    Logits are float32 [rows of the targets, labels].
    """

    rows: Labelled
    targets: NDArray[Any]
    logits: NDArray[numpy.float32]


@dataclass(frozen=True, slots=True)
class Material:
    """The input of every section.

    Attributes:
        job: the run.
        fitted: the model that was trained, and its tokenizer.
        folder: the checkpoint.
        record: training.json.
        held: dev and, if there is one, test, by name.
        vectors: the encoder as it was before training; computes when it is asked.
    """

    job: Job
    fitted: Fitted
    folder: Path
    record: dict[str, Any]
    held: dict[str, Held]
    vectors: Vectors

    @property
    def kind(self) -> Kind:
        """What the report does differently for the task."""
        return KINDS[self.job.data.task]

    @property
    def labels(self) -> list[str]:
        """The label names in id order."""
        return self.job.data.labels


def gather(folder: Path, job: Job, fitted: Fitted, logits: Logits) -> Material:
    """Read the record of the finished checkpoint in `folder`, beside its logits of dev and test."""
    data = job.data
    held = {name: Held(rows, data.targets[name], logits[name]) for name, rows in data.held_out().items()}
    record = json.loads((folder / "training.json").read_bytes())
    return Material(job, fitted, folder, record, held, Vectors(job))
