"""Continual learning: an older checkpoint goes on with new rows and labels, and keeps what it has learned."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Self

from bertwire_core.errors import UserError
from bertwire_core.tasks import TASKS, Task
from bertwire_data.labelled import Labelled, read_labelled
from bertwire_trainer.method import Fitted, Job
from bertwire_trainer.overlaps import apart
from bertwire_trainer.record import TrainingRecord
from bertwire_trainer.stage import StageOptions
from bertwire_trainer.stages.continued.options import ContinuedOptions
from bertwire_trainer.trained import fingerprint, read_record

if TYPE_CHECKING:
    from bertwire_trainer.data import Data
    from bertwire_trainer.stage import Fit


@dataclass(frozen=True, slots=True)
class Continued:
    """Continual learning of one run.

    Attributes:
        options: the options.
        record: the older checkpoint's training.json.
        rehearsal: rows of train with its labels only, or None.
        dev: rows of dev with its labels only, or None.
    """

    Options: ClassVar[type[StageOptions]] = ContinuedOptions
    tasks: ClassVar[frozenset[Task]] = frozenset(TASKS)
    in_folds: ClassVar[bool] = True

    options: ContinuedOptions
    record: TrainingRecord
    rehearsal: Labelled | None
    dev: Labelled | None

    @classmethod
    def read(cls, options: ContinuedOptions, data: "Data") -> Self:
        """Read the checkpoint's record and the old rows."""
        checkpoint, record = options.checkpoint, read_record(options.checkpoint)
        if record.task != data.task:
            raise UserError(f"--continue {checkpoint} is for {record.task}; {data.train.source} is for {data.task}")
        if record.text_pairs != data.train.text_pairs:
            read = "pairs of texts" if record.text_pairs else "single texts"
            raise UserError(f"--continue {checkpoint} reads {read}, unlike {data.train.source}; see --text-pair-column")
        files = (options.continued_rehearsal, options.continued_dev)
        rehearsal, dev = (None if path is None else _old_rows(path, data, checkpoint, record) for path in files)
        rehearsal = None if rehearsal is None else apart(rehearsal, data, "continue")
        return cls(options, record, rehearsal, dev)

    def recorded(self) -> dict[str, Any]:
        """Return the options, and the fingerprints of the checkpoint and of the old rows."""
        named = {"continued_rehearsal": self.rehearsal, "continued_dev": self.dev}
        files = {
            name: {"source": rows.source, "rows": len(rows), "sha256": rows.sha256()}
            for name, rows in named.items()
            if rows is not None
        }
        checkpoint = fingerprint(self.options.checkpoint) | {"labels": self.record.labels}
        return self.options.recorded() | files | {"continued": checkpoint}

    def run(self, job: Job, fit: "Fit") -> Fitted:
        """Give the new head the old one's rows, train, and measure what was forgotten."""
        from bertwire_trainer.stages.continued.learning import learn

        return learn(self, job, fit)


def _old_rows(path: Path, data: "Data", checkpoint: Path, record: TrainingRecord) -> Labelled:
    rows = read_labelled(path, data.train.columns, data.task)
    if rows.text_pairs != data.train.text_pairs:
        raise UserError(f"{path} and {data.train.source} must both have pairs of texts or single texts")
    if unknown := {*rows.names()} - {*record.labels}:
        raise UserError(
            f"{path} has label {min(unknown)!r}, which {checkpoint} does not know; it must have old labels only"
        )
    return rows
