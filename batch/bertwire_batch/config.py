"""Settings of `bertwire score` and `bertwire embed`."""

from pathlib import Path
from typing import Literal, Self

from pydantic import Field, field_validator, model_validator

from bertwire_batch.sources import LINES, STDIN, is_many
from bertwire_client.connection import ConnectionConfig
from bertwire_client.requests import Priority
from bertwire_core.files import output_path, require_apart
from bertwire_core.options import argument, needs
from bertwire_data.tables import plain_name, require_workbook, table_format


class JobConfig(ConnectionConfig):
    """Settings of a job over a file of texts; each becomes an option of the command."""

    inputs: list[Path] = argument(
        "Files with a text in each row: CSV, TSV, JSONL, Parquet or .xlsx, each also .gz or .zst; folders, patterns, "
        "or - for standard input. Empty lines are no rows."
    )
    output: Path
    format: Literal["lines", "csv", "tsv", "jsonl", "parquet"] | None = Field(
        None,
        description="Format of the inputs, whatever their endings; lines: a text in each line, written as JSONL. "
        "Standard input needs it.",
    )
    sheet: str | None = Field(None, description="Sheet to read of an .xlsx file; default: the first.")
    text_column: str = Field("text", description="Column with the text.")
    overwrite: bool = Field(
        False,
        description="Replace the files that the job writes, if they exist; other files in a folder of outputs stay. A "
        "file of --errors goes where no row of its input fails.",
    )
    summary: Path | None = Field(None, description="JSON file for the summary, for programs.")
    errors: Path | None = Field(
        None,
        description="Where to write the rows that fail as they were read, to be read again: a file, or for several "
        "inputs a folder; none where no row fails.",
    )
    only_new: Path | None = Field(
        None,
        description="Earlier output, whose rows of the same text, version of the model and options are not asked for "
        "again.",
    )

    server: list[str] = Field(
        ["127.0.0.1:8500"], description="The server's host:port, or unix:PATH; repeat for several of the same model."
    )
    bundle: Path | None = Field(
        None, description="Bundle to answer with in this process, in place of a server; needs the extras serve and cpu."
    )
    model: str = Field("", description="Model to ask; default: the server's own default.")
    model_version: str = Field("", description="Version or alias of the model; default: its default version.")
    priority: Priority = Field(
        "low", description="Priority on the server; at low, calls of others that wait for an answer go first."
    )
    batch_size: int = Field(32, ge=1, description="Texts in one call.")
    concurrency: int = Field(8, ge=1, description="Most calls in flight to each server; fewer when it refuses some.")
    timeout: float = Field(60, gt=0, le=86_400, description="Seconds that one call may take.")
    max_outage: float = Field(
        60,
        ge=0,
        description="Seconds to wait for a server that has answered once, in an earlier run too, and is gone, or that "
        "is warming up or overloaded; after that the other servers go on.",
    )

    @field_validator("output", "summary", "errors")
    @classmethod
    def _places(cls, path: Path | None) -> Path | None:
        return None if path is None else output_path(path)

    @property
    def many(self) -> bool:
        """Return whether the output is a folder with a file for each input."""
        return is_many(self.inputs)

    @property
    def outputs(self) -> list[Path]:
        """Return the files and folders to write."""
        return [path for path in (self.output, self.summary, self.errors) if path is not None]

    @model_validator(mode="after")
    def _files_apart(self) -> Self:
        files = [path for path in self.inputs if path != STDIN]
        if not self.many:
            require_workbook(self.sheet, map(plain_name, files))
        for path in self.outputs:
            require_apart(path, *files, *(other for other in self.outputs if other is not path))
            if inside := [each for each in files if each.is_dir() and each.resolve() in path.resolve().parents]:
                raise ValueError(f"{path} lies in {inside[0]}, which is read; choose another output")
        return self

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        if STDIN in self.inputs and (self.format is None or self.many):
            raise ValueError("standard input is read alone, and --format says what it holds")
        of_servers = {"server", "model", "model_version", "priority", "concurrency", "timeout", "max_outage"}
        given = (of_servers | ConnectionConfig.model_fields.keys()) & self.model_fields_set
        if self.bundle is not None and given:
            raise ValueError(f"--{min(given).replace('_', '-')} is for a server; leave it out with --bundle")
        return self

    def require_format(self, path: Path | None) -> None:
        """Raise `ValueError` where a file is not named as of the format of the single input."""
        if path is None or self.many:
            return
        if (kind := self.format_of(self.inputs[0])) != table_format(plain_name(path)):
            raise ValueError(f"the output is written in the input's format, {kind}; give {path} that ending")

    def format_of(self, path: Path) -> str:
        """Return the format in which an input is read; raise `UserError` where it is not known."""
        if self.format is None:
            return table_format(plain_name(path))
        return table_format(Path("lines.jsonl" if self.format == LINES else f"table.{self.format}"))


class ScoreConfig(JobConfig):
    """Settings of one scoring job."""

    output: Path = Field(
        description="File to write, in the input's format; for several inputs a folder with a file for each. It "
        "appears when all rows are done; until then OUTPUT.partial holds what is, and the same command goes on."
    )
    text_pair_column: str | None = Field(
        None, description="Column with the second text, for a model of text pairs. Unset: text_pair."
    )
    prefix: str = Field("predicted_", description="What the names of the added columns begin with.")
    all_scores: bool = Field(False, description="Add the column scores: every label's score, as a JSON object.")
    threshold: float | None = Field(
        None, ge=0, le=1, description="Least score of a predicted label or entity; default: the model's own thresholds."
    )

    ray: bool = Field(
        False,
        description="Score Parquet by an actor pool of Ray Data, each actor with the bundle on one CPU; inputs and "
        "output may be URIs of object stores, and the output is a folder.",
        json_schema_extra=needs("bundle"),
    )
    ray_address: str | None = Field(
        None,
        description="Address of the cluster, as ray.init takes it; default: RAY_ADDRESS, or the cluster of this "
        "machine, or one that is started for the command.",
        json_schema_extra=needs("ray"),
    )
    ray_id_column: str | None = Field(
        None,
        description="Column of unique ids, by which Ray Data's checkpoints tell the rows that are written: after a "
        "stop the same command goes on.",
        json_schema_extra=needs("ray"),
    )
    ray_checkpoint: Path | None = Field(
        None,
        description="Folder or URI for the checkpoints, that all nodes reach; default: OUTPUT.partial.",
        json_schema_extra=needs("ray_id_column"),
    )
    ray_min_actors: int = Field(1, ge=1, description="Least actors in the pool.", json_schema_extra=needs("ray"))
    ray_max_actors: int | None = Field(
        None,
        ge=1,
        description="Most actors in the pool; default: as many as the cluster has room for.",
        json_schema_extra=needs("ray"),
    )

    @model_validator(mode="after")
    def _idle_with_ray(self) -> Self:
        own = {"format", "sheet", "overwrite", "summary", "errors", "only_new"} & self.model_fields_set
        if self.ray and own:
            raise ValueError(f"--{min(own).replace('_', '-')} is not for --ray; leave it out")
        if (self.ray_max_actors or self.ray_min_actors) < self.ray_min_actors:
            raise ValueError(f"--ray-max-actors {self.ray_max_actors} is below --ray-min-actors {self.ray_min_actors}")
        return self

    @model_validator(mode="after")
    def _same_format(self) -> Self:
        if self.ray:
            return self
        for path in (self.output, self.errors):
            self.require_format(path)
        return self


class EmbedConfig(JobConfig):
    """Settings of one job that writes vectors."""

    output: Path = Field(
        description="Parquet file to write, with a row for each of the input; for several inputs a folder with a file "
        "for each. It appears when all rows are done; the same command goes on after a stop."
    )
    keep: list[str] = Field(
        [], description="Column of the input to write too, as strings; repeat for several. The text is always written."
    )
    dimensions: int | None = Field(
        None, ge=1, description="How many of the first numbers of each vector to write; default: all."
    )
    normalize: bool = Field(False, description="Give the vectors of a model that does not normalize the length 1.")

    @model_validator(mode="after")
    def _parquet(self) -> Self:
        if not self.many and table_format(self.output) != "Parquet":
            raise ValueError(f"vectors are written as Parquet; give {self.output} the ending .parquet")
        self.require_format(self.errors)
        if twice := {"row", "embedding", "truncated", "error"} & {self.text_column, *self.keep}:
            raise ValueError(f"the output has a column {min(twice)!r} of its own; rename that of the input")
        return self
