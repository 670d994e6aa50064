"""Settings of `bertwire score` and `bertwire embed`."""

from pathlib import Path
from typing import Self

from pydantic import Field, field_validator, model_validator

from bertwire_client.connection import ConnectionConfig
from bertwire_client.requests import Priority
from bertwire_core.files import output_path, require_apart
from bertwire_core.options import argument
from bertwire_data.tables import require_workbook, table_format


class JobConfig(ConnectionConfig):
    """Settings of a job over a file of texts; each becomes an option of the command."""

    input: Path = argument("File with a text in each row: CSV, TSV, JSONL, Parquet or .xlsx; empty lines are no rows.")
    output: Path
    sheet: str | None = Field(None, description="Sheet to read of an .xlsx file; default: the first.")
    text_column: str = Field("text", description="Column with the text.")
    overwrite: bool = Field(False, description="Replace the output, and the summary, if they exist.")
    summary: Path | None = Field(None, description="JSON file for the summary, for programs.")

    address: str = Field("127.0.0.1:8500", description="The server's host:port, or unix:PATH.")
    model: str = Field("", description="Model to ask; default: the server's own default.")
    model_version: str = Field("", description="Version or alias of the model; default: its default version.")
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
    def _files_apart(self) -> Self:
        require_workbook(self.sheet, [self.input])
        require_apart(self.output, self.input)
        if self.summary is not None:
            require_apart(self.summary, self.input, self.output)
        return self


class ScoreConfig(JobConfig):
    """Settings of one scoring job."""

    output: Path = Field(description="File to write, in the input's format; it appears whole or not at all.")
    text_pair_column: str | None = Field(
        None, description="Column with the second text, for a model of text pairs. Unset: text_pair."
    )
    prefix: str = Field("predicted_", description="What the names of the added columns begin with.")
    all_scores: bool = Field(False, description="Add the column scores: every label's score, as a JSON object.")
    threshold: float | None = Field(
        None, ge=0, le=1, description="Least score of a predicted label or entity; default: the model's own thresholds."
    )

    @model_validator(mode="after")
    def _same_format(self) -> Self:
        if (kind := table_format(self.input)) != table_format(self.output):
            raise ValueError(f"the output is written in the input's format, {kind}; give {self.output} that ending")
        return self


class EmbedConfig(JobConfig):
    """Settings of one job that writes vectors."""

    output: Path = Field(description="Parquet file to write, with a row for each of the input; whole or not at all.")
    keep: list[str] = Field(
        [], description="Column of the input to write too, as strings; repeat for several. The text is always written."
    )
    dimensions: int | None = Field(
        None, ge=1, description="How many of the first numbers of each vector to write; default: all."
    )
    normalize: bool = Field(False, description="Give the vectors of a model that does not normalize the length 1.")

    @model_validator(mode="after")
    def _parquet(self) -> Self:
        if table_format(self.output) != "Parquet":
            raise ValueError(f"vectors are written as Parquet; give {self.output} the ending .parquet")
        if twice := {"row", "embedding", "truncated", "error"} & {self.text_column, *self.keep}:
            raise ValueError(f"the output has a column {min(twice)!r} of its own; rename that of the input")
        return self
