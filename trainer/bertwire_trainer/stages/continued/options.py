"""The options of going on from an older checkpoint."""

from pathlib import Path
from typing import Any

from pydantic import Field

from bertwire_core.errors import UserError
from bertwire_core.files import unicode_name
from bertwire_core.options import needs
from bertwire_core.pooling import Pooling
from bertwire_trainer.stage import StageOptions, Start
from bertwire_trainer.trained import read_record

# The methods whose head can have old rows beside new ones: the others fit theirs anew, or learn from other losses.
_METHODS = ("full", "lora", "ia3")


def _flag(name: str) -> dict[str, Any]:
    # `continue` is no name of a field in Python.
    return {"flag": f"--{name}"}


class ContinuedOptions(StageOptions):
    """From which checkpoint, and what keeps it from forgetting."""

    continued: Path | None = Field(
        None,
        json_schema_extra=_flag("continue"),
        description="Checkpoint of bertwire train to go on from, in place of --model: its labels come first, with "
        "their rows of the head, and labels that train has besides are new ones.",
    )
    continued_rehearsal: Path | None = Field(
        None,
        json_schema_extra=_flag("continue-rehearsal"),
        description="Old rows for --continue, in the form of train, that are learned beside it: CSV, TSV, JSONL, "
        "Parquet or .xlsx.",
    )
    continued_rehearsal_count: int | None = Field(
        None,
        ge=0,
        json_schema_extra=_flag("continue-rehearsal-count") | needs("continued_rehearsal"),
        description="Rows of --continue-rehearsal to learn, drawn at random and balanced by label. Unset: all.",
    )
    continued_ewc: float = Field(
        0.0,
        ge=0,
        json_schema_extra=_flag("continue-ewc") | needs("continued_rehearsal"),
        description="Elastic weight consolidation for --continue: half of this times the squared change of each "
        "weight times its Fisher information on --continue-rehearsal, added to the loss; 0: off. For --method full.",
    )
    continued_lwf: float = Field(
        0.0,
        ge=0,
        json_schema_extra=_flag("continue-lwf"),
        description="Learning without forgetting for --continue: weight of the divergence from what the old model "
        "says of the rows of train; 0: off.",
    )
    continued_dev: Path | None = Field(
        None,
        json_schema_extra=_flag("continue-dev"),
        description="Old rows of dev for --continue, scored before and after: what was forgotten.",
    )

    def require_method(self, method: str) -> None:
        """Raise `UserError` for a method that does not keep the old rows of a head."""
        if method not in _METHODS:
            raise UserError(f"--continue is for --method {', '.join(_METHODS)}, which keep the old head; not {method}")
        if self.continued_ewc and method != "full":
            raise UserError(f"--continue-ewc is for --method full, which trains the weights themselves; not {method}")

    def start(self) -> Start:
        """Return the checkpoint with its labels and pooling; raise `UserError` where it is none."""
        record = read_record(self.checkpoint)
        pooled = record.pooling
        pooling = None if pooled is None else Pooling(pooled.tokens, pooled.pooler, pooled.normalize)
        return Start(self.checkpoint, record.labels, pooling, record.max_length, record.truncation_side)

    @property
    def checkpoint(self) -> Path:
        """The checkpoint to go on from."""
        assert self.continued is not None  # noqa: S101 - the stage was asked for by it
        return self.continued

    def recorded(self) -> dict[str, Any]:
        """Return the options, with the names of the files."""
        files = ("continued", "continued_rehearsal", "continued_dev")
        named = {name: unicode_name(path) for name in files if (path := getattr(self, name)) is not None}
        return self.model_dump() | named
