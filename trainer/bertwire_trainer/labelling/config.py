"""Settings of `bertwire label-next` and `bertwire label-read`."""

from pathlib import Path
from typing import Literal, Self

from pydantic import Field, field_validator, model_validator

from bertwire_core.files import output_path, require_apart
from bertwire_core.options import Config, argument
from bertwire_core.tasks import Task
from bertwire_data.columns import Columns
from bertwire_data.tables import table_format

Measure = Literal["margin", "entropy"]
Format = Literal["jsonl", "prodigy", "argilla", "label-studio"]

# Tools that read one JSON array: Argilla's `from_json`, and Label Studio's upload, which tells it by the file's ending.
JSON_ARRAYS: frozenset[Format] = frozenset({"argilla", "label-studio"})


class LabelNextConfig(Config):
    """What to choose from, by which model, and where the texts to label go."""

    input: Path = argument("Unlabelled texts, one a row: CSV, TSV, JSONL, Parquet or .xlsx; .txt: one a line.")
    output: Path = Field(description="File to write: .jsonl, for argilla and label-studio .json.")
    overwrite: bool = Field(False, description="Replace the output, if it exists.")
    model: str = Field(
        "minilm",
        min_length=1,
        description="Checkpoint of bertwire train. Before there is one an encoder: minilm, a local folder or a hub id, "
        "by which texts are chosen for diversity alone.",
    )
    count: int = Field(100, ge=1, description="Texts to choose.")
    format: Format = Field("jsonl", description="Annotation tool that reads the output; jsonl: plain rows.")
    labelled: list[Path] = Field(
        [], description="Labelled rows, whose texts are not asked for again; repeat for several files."
    )
    rounds: Path | None = Field(
        None, description="Folder with the checkpoints of earlier rounds, to be told whether more labels still help."
    )
    uncertainty: Measure = Field(
        "margin",
        description="Least margin between two decisions, or greatest entropy; for several labels and tags, margin of "
        "the least certain one or mean entropy. Numbers: spread of predictions under dropout, either way.",
    )
    sample: int = Field(20_000, ge=1, description="Texts to choose among; drawn by chance where there are more.")
    text_column: str = Field("text", description="Column with the text, or with lists of words; unless chosen, tokens.")
    text_pair_column: str | None = Field(
        None, description="Column with a second text. Unset: text_pair, if there is such a column."
    )
    seed: int = Field(42, ge=0, lt=2**32, description="Seed of the sample, of the clusters and of dropout.")

    @field_validator("output")
    @classmethod
    def _place(cls, path: Path) -> Path:
        return output_path(path)

    @model_validator(mode="after")
    def _files(self) -> Self:
        table_format(self.input)
        ending = ".json" if self.format in JSON_ARRAYS else ".jsonl"
        if self.output.suffix.lower() != ending:
            raise ValueError(f"--format {self.format} is written as {ending}; give {self.output} that ending")
        require_apart(self.output, self.input, *self.labelled)
        return self

    @property
    def columns(self) -> Columns:
        """Return the columns to read."""
        return Columns(self.text_column, self.text_pair_column)


class LabelReadConfig(Config):
    """Which answers to read, and where the labelled rows go."""

    inputs: list[Path] = argument("Exports of Prodigy, Argilla or Label Studio, told apart by what is in them.")
    output: Path = Field(description="JSONL file to write, which bertwire train reads.")
    overwrite: bool = Field(False, description="Replace the output, if it exists.")
    task: Task | None = Field(None, description="What the texts are labelled for. Unset: what the answers look like.")
    question: str | None = Field(
        None, description="Question (Argilla) or control (Label Studio) to read, where there are several."
    )
    text_column: str = Field("text", description="Field with the text.")

    @field_validator("output")
    @classmethod
    def _place(cls, path: Path) -> Path:
        return output_path(path)

    @model_validator(mode="after")
    def _files(self) -> Self:
        if self.output.suffix.lower() != ".jsonl":
            raise ValueError(f"the output is JSONL; give {self.output} the ending .jsonl")
        require_apart(self.output, *self.inputs)
        return self
