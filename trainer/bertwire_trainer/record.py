"""The schema of `training.json`: how a checkpoint came to be and how good it is."""

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from bertwire_core.pooling import Pooled
from bertwire_core.tasks import Task
from bertwire_trainer.trust.record import TrustRecord

RECORD = "training.json"


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class SplitRecord(_Record):
    """One split of the labelled data."""

    source: str = Field(description="File name, or dataset and split, that the rows came from.")
    rows: int = Field(description="Number of rows.")
    sha256: str = Field(description="Hash over the rows in order, each the JSON array [input, target] and a line feed.")


class PoolingRecord(_Record):
    """What a pooled head reads."""

    tokens: Pooled = Field(description="The first token's vector, or the mean or maximum over the tokens.")
    pooler: bool = Field(description="Whether a dense layer with tanh follows.")
    normalize: bool = Field(description="Whether the vector is divided by its Euclidean norm.")
    tried: dict[str, float] = Field(
        {}, description="Where it was chosen, of each pooling the score on dev of a linear layer on the base encoder."
    )


class Setup(_Record):
    """Everything that determines the result; a resumed run must have the same."""

    task: Task = Field(description="What the model does.")
    text_pairs: bool = Field(description="Whether it reads two texts at a time.")
    labels: list[str] = Field(description="Label names in id order; for regression the name of the label column.")
    max_length: int = Field(description="Tokens a text, or a chunk of it, was cut to, special tokens included.")
    chunks: int = Field(1, description="Chunks of a longer text that were read at most.")
    chunk_overlap: int = Field(0, description="Tokens that a chunk repeats of the one before.")
    truncation_side: Literal["left", "right"] = Field(description="Side on which a long text was cut.")
    truncation_strategy: Literal["longest_first"] = Field(
        "longest_first", description="How a pair was cut: token by token, from whichever text was longer by then."
    )
    base_model: str = Field(description="Checkpoint that training started from: minilm, a folder's name or a hub id.")
    method: str = Field("full", description="How the encoder learnt the task; full in files that do not say.")
    pooling: PoolingRecord | None = Field(None, description="What the head reads; null: the architecture's own head.")
    recipe: dict[str, Any] = Field(description="Options of the method; precision is the one that was used.")
    stages: dict[str, dict[str, Any]] = Field(
        {}, description="Stages around the method, by name, the outermost first: options, and what each did."
    )
    processes: int = Field(1, description="Processes that trained together, each on batches of its own.")
    seed: int = Field(description="Seed of the new head, the order of rows, dropout and the dev cut.")
    data: dict[str, SplitRecord] = Field(description="The splits by name: train, dev and, if there was one, test.")


class AddedRecord(_Record):
    """Labels added to a checkpoint without training."""

    labels: list[str] = Field(description="The labels.")
    examples: SplitRecord = Field(description="The rows that gave their prototypes.")


class TrainingRecord(Setup, TrustRecord):
    """The whole of `training.json`."""

    schema_version: Literal[2] = Field(2, description="Version of this schema.")
    metrics: dict[str, dict[str, float]] = Field(
        description="Quality on dev and, if there was one, test, of the saved weights, computed in float32; the first "
        "figure of a split chose the epoch, and loss is without label smoothing and class weights."
    )
    remarks: list[str] = Field(
        [], description="How the rows were read and what was odd about them, as printed; one line each."
    )
    best_epoch: int | None = Field(
        description="Epoch, counted from 1, whose weights were kept, for a mean the last; null for a method without "
        "epochs."
    )
    weights: str = Field("", description="Which weights were kept: an epoch's, or the mean of several; empty before.")
    chosen: dict[str, Any] = Field({}, description="What the method chose by itself, such as a scale, by name.")
    added: list[AddedRecord] = Field([], description="What bertwire add-class added, in order.")
    versions: dict[str, str] = Field(description="Versions of bertwire, torch, transformers and python.")
    seconds: float = Field(description="Wall-clock seconds of the command; of the last one, if it was resumed.")
