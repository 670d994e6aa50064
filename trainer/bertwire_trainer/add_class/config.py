"""The settings of `bertwire add-class`."""

from pathlib import Path

from pydantic import Field

from bertwire_core.options import Config, argument
from bertwire_data.labelled import Columns


class AddClassConfig(Config):
    """Which checkpoint, which examples, and where the result goes."""

    checkpoint: Path = argument("Checkpoint of bertwire train --method prototypes or zero-shot.")
    examples: Path = Field(description="Rows of the new labels, one or more each: CSV, TSV, JSONL, Parquet or .xlsx.")
    output: Path = Field(description="Checkpoint folder to write; it appears whole or not at all.")
    overwrite: bool = Field(False, description="Replace OUTPUT.")
    text_column: str = Field("text", description="Column with the text.")
    text_pair_column: str | None = Field(
        None, description="Column with a second text. Unset: text_pair, if there is such a column."
    )
    label_column: str | None = Field(None, description="Column with the label. Unset: label.")

    @property
    def columns(self) -> Columns:
        """Return the columns to read."""
        return Columns(self.text_column, self.text_pair_column, self.label_column)
