"""The options of self-training."""

from pathlib import Path
from typing import Any

from pydantic import Field

from bertwire_core.files import unicode_name
from bertwire_trainer.stage import StageOptions


class SelfTrainOptions(StageOptions):
    """Which texts, and which of them are learned."""

    self_train: list[Path] = Field(
        [],
        description="Unlabelled texts that the trained model labels and that it is then trained on again: CSV, TSV, "
        "JSONL, Parquet, or a .txt file with a text on each line; once for each file.",
    )
    self_train_column: str | None = Field(
        None, description="Column with the texts of --self-train, in tables. Unset: as in the labelled rows."
    )
    self_train_confidence: float = Field(
        0.9, gt=0, lt=1, description="Probability of its label from which on a text of --self-train is learned."
    )
    self_train_rounds: int = Field(3, ge=1, description="Rounds of labelling and training at most.")

    def recorded(self) -> dict[str, Any]:
        """Return the options, with the names of the files."""
        return self.model_dump() | {"self_train": [unicode_name(path) for path in self.self_train]}
