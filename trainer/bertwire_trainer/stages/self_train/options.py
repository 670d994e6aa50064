"""The options of self-training."""

from pathlib import Path
from typing import Any

from pydantic import Field

from bertwire_core.errors import UserError
from bertwire_core.files import unicode_name
from bertwire_trainer.stage import StageOptions

_METHODS = ("full", "lora", "ia3")


class SelfTrainOptions(StageOptions):
    """Which texts, and how often."""

    self_train: list[Path] = Field(
        [],
        description="Unlabelled texts that the model is trained on again, by its own probabilities: CSV, TSV, "
        "JSONL, Parquet, or a .txt file with a text on each line; once for each file.",
    )
    self_train_column: str | None = Field(
        None, description="Column with the texts of --self-train, in tables. Unset: as in the labelled rows."
    )
    self_train_members: int = Field(
        3,
        ge=1,
        description="Models that are trained on the labelled rows alone, with a seed each; the mean of their "
        "probabilities is learned in the first round.",
    )
    self_train_rounds: int = Field(3, ge=1, description="Rounds of training on the texts at most.")

    def require_method(self, method: str) -> None:
        """Raise `UserError` for a method that does not learn from probabilities."""
        if method not in _METHODS:
            raise UserError(f"--self-train is for --method {', '.join(_METHODS)}, which train by epochs; not {method}")

    def recorded(self) -> dict[str, Any]:
        """Return the options, with the names of the files."""
        return self.model_dump() | {"self_train": [unicode_name(path) for path in self.self_train]}
