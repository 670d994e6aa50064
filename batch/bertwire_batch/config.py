"""Settings of `bertwire score`."""

from pathlib import Path
from typing import Self

from pydantic import Field, field_validator, model_validator

from bertwire_client.connection import ConnectionConfig
from bertwire_client.requests import Priority
from bertwire_core.files import output_path, require_apart
from bertwire_core.options import argument
from bertwire_data.tables import require_workbook, table_format


class ScoreConfig(ConnectionConfig):
    """Settings of one scoring job; each becomes an option of the command."""

    input: Path = argument("File with a text in each row: CSV, TSV, JSONL, Parquet or .xlsx; empty lines are no rows.")
    output: Path = Field(description="File to write, in the input's format; it appears whole or not at all.")
    sheet: str | None = Field(None, description="Sheet to read of an .xlsx file; default: the first.")
    text_column: str = Field("text", description="Column with the text.")
    text_pair_column: str | None = Field(
        None, description="Column with the second text, for a model of text pairs. Unset: text_pair."
    )
    prefix: str = Field("predicted_", description="What the names of the added columns begin with.")
    all_scores: bool = Field(False, description="Add the column scores: every label's score, as a JSON object.")
    overwrite: bool = Field(False, description="Replace the output, and the summary, if they exist.")
    summary: Path | None = Field(None, description="JSON file for the summary, for programs.")

    address: str = Field("127.0.0.1:8500", description="The server's host:port, or unix:PATH.")
    model: str = Field("", description="Model to ask; default: the server's own default.")
    model_version: str = Field("", description="Version or alias of the model; default: its default version.")
    threshold: float | None = Field(
        None, ge=0, le=1, description="Least score of a predicted label or entity; default: the model's own thresholds."
    )
    priority: Priority = Field(
        "low", description="Priority on the server; at low, calls of others that wait for an answer go first."
    )
    batch_size: int = Field(32, ge=1, description="Texts in one call.")
    concurrency: int = Field(8, ge=1, description="Calls in flight at once.")
    timeout: float = Field(60, gt=0, le=86_400, description="Seconds that one call may take.")
    max_outage: float = Field(
        60,
        ge=0,
        description="Seconds to wait for a server that has answered once and then is gone, or that is warming up or "
        "overloaded.",
    )

    @field_validator("output", "summary")
    @classmethod
    def _places(cls, path: Path | None) -> Path | None:
        return None if path is None else output_path(path)

    @model_validator(mode="after")
    def _same_format(self) -> Self:
        if (kind := table_format(self.input)) != table_format(self.output):
            raise ValueError(f"the output is written in the input's format, {kind}; give {self.output} that ending")
        require_workbook(self.sheet, [self.input])
        return self

    @model_validator(mode="after")
    def _files_apart(self) -> Self:
        require_apart(self.output, self.input)
        if self.summary is not None:
            require_apart(self.summary, self.input, self.output)
        return self
