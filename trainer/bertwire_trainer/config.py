"""The settings of `bertwire train`."""

from pathlib import Path
from typing import Any, Literal, Self

from pydantic import Field, create_model, model_validator

from bertwire_core.errors import UserError
from bertwire_core.options import Config, needs
from bertwire_core.tasks import Task
from bertwire_data.labelled import Columns
from bertwire_data.tables import require_workbook
from bertwire_trainer.method import MethodOptions
from bertwire_trainer.methods import DEFAULT, METHODS
from bertwire_trainer.methods.options import chosen, flag, method_field, option_fields
from bertwire_trainer.recipe import read_recipe
from bertwire_trainer.stage import StageOptions, Start
from bertwire_trainer.stages import STAGES
from bertwire_trainer.stages.options import asked_for, stage_fields
from bertwire_trainer.tasks import SPECS
from bertwire_trainer.trust.options import TrustOptions, trust_fields

Precision = Literal["auto", "fp32", "bf16", "fp16"]
TruncationSide = Literal["left", "right"]
PoolingChoice = Literal["first", "mean", "max", "auto", "own"]


class RunConfig(Config):
    """What to train on, from which checkpoint, by which method, and where the result goes."""

    train: Path | None = Field(None, description="Labelled rows to train on: CSV, TSV, JSONL, Parquet or .xlsx.")
    dev: Path | None = Field(None, description="Labelled rows that choose the best epoch. Unset: cut from train.")
    test: Path | None = Field(None, description="Labelled rows that the finished checkpoint is scored on.")
    sheet: str | None = Field(None, description="Sheet to read of .xlsx files. Unset: the first.")
    dataset: str | None = Field(
        None, description="Hub dataset id or local dataset folder, also of save_to_disk, in place of --train."
    )
    dataset_config: str | None = Field(
        None, json_schema_extra=needs("dataset"), description="Configuration of --dataset, where it has several."
    )
    train_split: str = Field("train", json_schema_extra=needs("dataset"), description="Split of --dataset to train on.")
    dev_split: str | None = Field(
        None,
        json_schema_extra=needs("dataset"),
        description="Split of --dataset for dev. Unset: cut from the train split.",
    )
    test_split: str | None = Field(None, json_schema_extra=needs("dataset"), description="Split of --dataset for test.")
    text_column: str = Field(
        "text", description="Column with the text. For token classification, with the words; unless chosen, tokens."
    )
    text_pair_column: str | None = Field(
        None, description="Column with a second text. Unset: text_pair, if there is such a column."
    )
    label_column: str | None = Field(
        None, description="Column with what to learn. Unset: label, labels (a list) or tags (IOB2), by the task."
    )
    task: Task | None = Field(None, description="What the rows are labelled for. Unset: what the columns look like.")
    dev_fraction: float = Field(0.1, gt=0, lt=1, description="Share of train cut off as dev where no dev is given.")

    output: Path = Field(description="Checkpoint folder to write; it appears whole or not at all.")
    overwrite: bool = Field(False, description="Replace OUTPUT, and throw away an interrupted run of it.")
    resume: bool = Field(False, description="Continue an interrupted run of OUTPUT from its last checkpoint.")

    model: str = Field(
        "minilm",
        min_length=1,
        description="Encoder to start from: minilm (installed with bertwire), a local folder or a hub id.",
    )
    max_length: int = Field(128, ge=3, description="Tokens a text is cut to, special tokens included.")
    truncation_side: TruncationSide = Field("right", description="Side on which a long text is cut.")
    chunks: int = Field(
        1,
        ge=1,
        le=64,
        description="Read a text of more than --max-length tokens in so many chunks at most, and take the mean of "
        "their logits. Of train every chunk is learnt as a text.",
    )
    chunk_overlap: int = Field(
        32,
        ge=0,
        json_schema_extra=needs("chunks", least=2),
        description="With --chunks: tokens that a chunk repeats of the one before.",
    )
    pooling: PoolingChoice | None = Field(
        None,
        description="What the head reads of a text: its first token, or the mean or maximum over its tokens; auto: "
        "which of them the encoder, not trained yet, does best with on dev; own: the architecture's own head. Unset: "
        "the mean, but for tags of words their own head.",
    )
    pooler: bool = Field(False, description="A dense layer with tanh after the pooling, as in BERT's own head.")
    normalize: bool = Field(False, description="Divide what the head reads by its Euclidean norm.")
    precision: Precision = Field(
        "auto", description="Arithmetic. auto: bf16 where the device has units for it, else fp32."
    )
    tf32: bool = Field(True, description="Allow TF32 in fp32 matrix products, on CUDA devices that have it.")
    compile: bool = Field(False, description="Compile the model with torch.compile before training.")
    report: bool = Field(True, description="Write report.html, which holds texts, into OUTPUT.")
    seed: int = Field(42, ge=0, lt=2**32, description="Seed of the new head, the order of rows, dropout, the dev cut.")
    method: str = DEFAULT
    recipe: Path | None = Field(
        None,
        description="YAML file of options by their names, such as the recipe.yaml of a checkpoint; those given on "
        "the command line win.",
    )

    @model_validator(mode="before")
    @classmethod
    def _with_recipe(cls, given: dict[str, Any]) -> dict[str, Any]:
        if given.get("recipe") is None:
            return given
        values = read_recipe(Path(given["recipe"]), cls, given.get("method"))
        if given.get("dev") or given.get("dev_split"):
            values.pop("dev_fraction", None)
        return values | given

    @model_validator(mode="after")
    def _agree(self) -> Self:
        if (self.train is None) == (self.dataset is None):
            raise ValueError("pass either --train or --dataset")
        if self.dataset is not None and (self.dev or self.test):
            raise ValueError("with --dataset, choose --dev-split and --test-split in place of --dev and --test")
        if (self.dev or self.dev_split) and self.dev_fraction != type(self).model_fields["dev_fraction"].default:
            given = "--dev" if self.dev else "--dev-split"
            raise ValueError(f"--dev-fraction cuts dev from train, and {given} gives it; leave one of them out")
        if self.pooling == "own":
            self._require_own_head()
        if self.chunks > 1 and self.chunk_overlap > self.max_length // 2:
            raise ValueError("--chunk-overlap is above half of --max-length; choose less")
        require_workbook(self.sheet, (self.train, self.dev, self.test))
        return self

    def _require_own_head(self) -> None:
        if self.pooler or self.normalize:
            raise ValueError("--pooler and --normalize are not for --pooling own")
        if self.method in METHODS and METHODS[self.method].pooling is not None:
            raise ValueError(f"--method {self.method} puts a linear layer on a pooled vector; leave --pooling own out")

    @property
    def columns(self) -> Columns:
        """Return the columns to read."""
        return Columns(self.text_column, self.text_pair_column, self.label_column)

    @property
    def options(self) -> MethodOptions:
        """Return the options of the method; raise `UserError` where one is of another method."""
        return chosen(self.method, self.model_dump(include=set(option_fields())))

    @property
    def stages(self) -> dict[str, StageOptions]:
        """Return the options of each stage that is asked for; raise `UserError` for those of another."""
        return asked_for(self.model_dump(include=set(stage_fields())))

    @property
    def trust(self) -> TrustOptions:
        """Return the options of what is measured beside the scores."""
        return TrustOptions(**self.model_dump(include=set(trust_fields())))

    @property
    def start(self) -> Start | None:
        """Return the checkpoint that a stage puts in place of `--model`; `UserError` where it is none."""
        return next((found for each in self.stages.values() if (found := each.start()) is not None), None)


# A field for each option of a method or a stage, so that the command line has them beside those of every run.
TrainConfig: type[RunConfig] = create_model(
    "TrainConfig",
    __base__=RunConfig,
    **(method_field() | option_fields() | stage_fields() | trust_fields()),
)


def require_applicable(config: RunConfig, task: Task) -> None:
    """Raise `UserError` where the method, a stage or an option does not apply to the task."""
    # First, for a method may say why.
    config.options.require_task(task)
    _require_task(f"--method {config.method}", METHODS[config.method].tasks, task)
    pooled = config.pooling != "own" if config.start is None else config.start.pooling is not None
    for stage, options in config.stages.items():
        options.require_method(config.method)
        _require_task(flag(stage), STAGES[stage].tasks, task)
        options.require_head(pooled=pooled)
    if config.text_pair_column is not None and SPECS[task].by_word:
        raise UserError(f"--text-pair-column is for whole texts; {task} reads one list of words")
    if config.chunks > 1 and SPECS[task].by_word:
        raise UserError(f"--chunks is for whole texts; {task} reads words")
    if (config.pooling not in (None, "own") or config.pooler or config.normalize) and SPECS[task].by_word:
        raise UserError(f"--pooling is for whole texts; {task} reads every token")


def _require_task(option: str, tasks: frozenset[Task], task: Task) -> None:
    if task not in tasks:
        raise UserError(f"{option} is for {' and '.join(sorted(tasks))}; this is {task}")
