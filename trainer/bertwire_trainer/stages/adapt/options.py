"""The options of adaptation."""

from pathlib import Path
from typing import Any

from pydantic import Field

from bertwire_core.files import unicode_name
from bertwire_trainer.stage import StageOptions


class AdaptOptions(StageOptions):
    """Which texts, and how the encoder reads them."""

    adapt: list[Path] = Field(
        [],
        description="Unlabelled texts that the encoder reads before the labelled ones: CSV, TSV, JSONL, Parquet, or "
        "a .txt file with a text on each line; once for each file.",
    )
    adapt_column: str | None = Field(
        None, description="Column with the texts of --adapt, in tables. Unset: as in the labelled rows."
    )
    adapt_epochs: int = Field(1, ge=1, description="Passes over the texts of --adapt.")
    adapt_batch_size: int = Field(32, ge=2, description="Texts of --adapt in one step.")
    adapt_learning_rate: float = Field(
        5e-5, gt=0, description="Peak learning rate of AdamW for --adapt; it decays linearly to 0."
    )

    def recorded(self) -> dict[str, Any]:
        """Return the options, with the names of the files."""
        return self.model_dump() | {"adapt": [unicode_name(path) for path in self.adapt]}
