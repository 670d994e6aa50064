"""Distillation: a student learns what teachers say of labelled and of unlabelled texts (Hinton et al., 2015)."""

import hashlib
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from pydantic import Field

from bertwire_core.errors import UserError
from bertwire_core.files import unicode_name
from bertwire_core.options import needs
from bertwire_core.pooling import Pooling
from bertwire_core.tasks import TASKS
from bertwire_data.labelled import Labelled
from bertwire_data.texts import read_distinct
from bertwire_trainer import ranks
from bertwire_trainer.labelling.words import split
from bertwire_trainer.loop.options import LoopOptions
from bertwire_trainer.method import Fitted, Job, Scale
from bertwire_trainer.overlaps import places_apart
from bertwire_trainer.stages.rows import joined, unlabelled
from bertwire_trainer.trained import fingerprint, read_record

if TYPE_CHECKING:
    from bertwire_trainer.data import Data


# Rows that count as many for the epochs; halved, nothing breaks.
_MANY = 100_000


class DistillOptions(LoopOptions):
    """The loop's options, the teachers, what they are asked and how it counts."""

    teacher: list[Path] = Field(
        [],
        description="Checkpoint of bertwire train with the same labels, from which --model learns; once for each of an "
        "ensemble, whose probabilities are averaged.",
    )
    distill_texts: list[Path] = Field(
        [],
        description="Unlabelled texts to learn as well, by what the teachers say: CSV, TSV, JSONL, Parquet, or a .txt "
        "file with a text on each line; once for each file.",
    )
    distill_column: str | None = Field(
        None,
        json_schema_extra=needs("distill_texts"),
        description="Column with the texts of --distill-texts, in tables. Unset: as in the labelled rows.",
    )
    distill_temperature: float = Field(
        2.0, gt=0, description="What the logits of teachers and student are divided by; without effect on numbers."
    )
    distill_hard_weight: float = Field(
        0.5, ge=0, description="Weight of the usual loss on labelled rows; that of the teachers' has 1."
    )

    def require_data(self, data: "Data") -> None:
        """Raise `UserError` where a teacher is for other labels or rows, or a file of texts is faulty."""
        ranks.require_one("--method distill")
        if not self.teacher:
            raise UserError("--method distill needs --teacher, a checkpoint of bertwire train with the same labels")
        for checkpoint in self.teacher:
            _require_same(checkpoint, data)
        if self.distill_texts and data.train.text_pairs:
            raise UserError(f"--distill-texts is for single texts; {data.train.source} has pairs of texts")
        self.unlabelled(data)

    def require_folds(self) -> None:
        """Refuse texts without labels, of which those that a fold is scored on cannot be left out."""
        if self.distill_texts:
            raise UserError("--folds would score rows that --distill-texts may hold too; leave out one of both")

    def suited(self, scale: Scale) -> Self:
        """Return the options as if train were large where there are texts without labels, which usually are many."""
        return super().suited(replace(scale, rows=max(scale.rows, _MANY)) if self.distill_texts else scale)

    def unlabelled(self, data: "Data") -> Labelled:
        """Return the distinct texts of --distill-texts that no split has; their targets stand for none."""
        train = data.train
        column = self.distill_column or train.columns.text
        texts = read_distinct(self.distill_texts, column, "--distill-column")
        inputs = [words for text in texts if (words := split(text))] if train.by_word else texts
        return unlabelled(train, [inputs[place] for place in places_apart(inputs, data.splits().values())])

    def recorded(self) -> dict[str, Any]:
        """Return the options; of teachers and texts their names and fingerprints."""
        texts = [
            {"source": unicode_name(path), "sha256": hashlib.sha256(path.read_bytes()).hexdigest()}
            for path in self.distill_texts
        ]
        return super().recorded() | {"teacher": [fingerprint(each) for each in self.teacher], "distill_texts": texts}


class Distill:
    """Train every weight of the student on what teachers say, and on labels."""

    Options = DistillOptions
    tasks = frozenset(TASKS)
    pooling: Pooling | None = None

    def fit(self, job: Job, options: DistillOptions) -> Fitted:
        """Ask the teachers once, then train the student; return the model of the best epoch."""
        from bertwire_trainer.loop.trainer import run_epochs
        from bertwire_trainer.messages import note
        from bertwire_trainer.soft_targets import SoftTargets, place_tokens
        from bertwire_trainer.teachers import Teacher, teach

        data, more = job.data, options.unlabelled(job.data)
        note(f"distill: {len(more)} texts without labels beside the {len(data.train)} of train")
        rows = joined(data.train, more)
        teachers = [Teacher(each, read_record(each)) for each in options.teacher]
        kept, temperature = job.epochs / "distill" / "means.npy", options.distill_temperature
        targets = data.targets["train"]
        loss = SoftTargets(
            task=data.task,
            targets=targets,
            means=teach(kept, teachers, data.labels, rows, temperature, "teacher"),
            temperature=temperature,
            soft_weight=1.0,
            hard_weight=options.distill_hard_weight,
        )
        tokens = job.tokens | {"train": place_tokens(job.model, job.tokenizer, rows, targets)}
        return run_epochs(replace(job, tokens=tokens, loss=loss), options)


def _require_same(checkpoint: Path, data: "Data") -> None:
    record = read_record(checkpoint)
    if record.task != data.task:
        raise UserError(f"--teacher {checkpoint} is for {record.task}; {data.train.source} is for {data.task}")
    if record.text_pairs != data.train.text_pairs:
        read = "pairs of texts" if record.text_pairs else "single texts"
        raise UserError(f"--teacher {checkpoint} reads {read}, unlike {data.train.source}; see --text-pair-column")
    if differing := {*record.labels} ^ {*data.labels}:
        label = min(differing)
        one, other = ("has", "lacks") if label in record.labels else ("lacks", "has")
        raise UserError(
            f"--teacher {checkpoint} {one} label {label!r}, which {data.train.source} {other}; both must have the same"
        )
