"""Settings of `bertwire export`."""

from enum import StrEnum
from pathlib import Path
from typing import Literal, Self

from pydantic import Field, TypeAdapter, ValidationError, field_validator, model_validator

from bertwire_core.errors import UserError
from bertwire_core.files import output_path
from bertwire_core.options import Config, argument
from bertwire_core.pooling import Pooled
from bertwire_data.tables import require_workbook
from bertwire_runtime.bundle import GateLimits, Identifier, Provider

_AGREEMENT = "Least share of decisions (labels, tags) that are PyTorch's, "
_DROP = "Most that accuracy, an F1 or a correlation may lie below PyTorch's, "
_LOGIT = "Largest difference of a logit from PyTorch's, "
_COSINE = "Least mean cosine of an encoder's vectors with PyTorch's, "
_NEIGHBOURS = "Least share of the 10 nearest texts of each text that are PyTorch's too, "
_VARIANCE = "Largest difference of a logit caused by the other texts of the batch, "


class Precision(StrEnum):
    """The number format of a variant's linear layers."""

    FP32 = "fp32"
    FP16 = "fp16"
    INT8 = "int8"

    @property
    def providers(self) -> tuple[Provider, ...]:
        """The ONNX Runtime providers where the format is worth running.

        CUDA has no int8 kernels worth using: it would run them node by node on the CPU. CPUs compute fp16 in fp32.
        """
        choices: dict[Precision, tuple[Provider, ...]] = {
            Precision.FP32: ("cpu", "cuda"),
            Precision.FP16: ("cuda",),
            Precision.INT8: ("cpu",),
        }
        return choices[self]


class ExportConfig(Config):
    """Settings of one export; each becomes an option of the command."""

    checkpoint: Path = argument(
        "Folder written by bertwire train. For vectors of texts a folder of an encoder or of sentence-transformers, or "
        "minilm (installed with bertwire)."
    )
    output: Path = Field(description="Folder of the bundle to write; must not exist. OUTPUT.report.html comes with it.")
    name: str | None = Field(None, description="The model's name for its clients; default: the output folder's name.")
    version: Identifier = Field("1", description="The model's version.")
    variants: list[Precision] = Field(
        [], description="Which precisions to build; repeat for several. Default: all that this machine can run."
    )
    quick: bool = Field(False, description="Build one graph a precision, without searching for the fastest.")
    force: bool = Field(False, description="Publish variants that break a limit too; the bundle records it.")
    converter: Literal["torch", "optimum"] = Field(
        "torch", description="Who writes the padded graph; optimum builds no packed one."
    )
    optimum_python: Path = Field(
        Path(".optimum/bin/python"), description="Interpreter for --converter optimum; make optimum makes it."
    )
    dev: Path | None = Field(
        None,
        description="Labelled rows to prove the variants on; default: the dev rows of the training. For an encoder "
        "pairs of texts with scores.",
    )
    test: Path | None = Field(
        None, description="Labelled rows for a second proof, without limits; default: the training's test rows, if any."
    )
    texts: list[Path] = Field(
        [],
        description="Texts without labels on which the variants must agree with PyTorch too: CSV, TSV, JSONL, Parquet, "
        ".xlsx, or a .txt file with a text on each line; once for each file. An encoder without --texts and --dev is "
        "proven on texts in English that come with bertwire.",
    )
    sheet: str | None = Field(None, description="Sheet to read of .xlsx files; default: the first.")
    text_column: str = Field("text", description="Column of --dev, --test and --texts that holds the text.")
    text_pair_column: str | None = Field(None, description="Column with the second text, for models of text pairs.")
    label_column: str | None = Field(None, description="Column with the label; default: as bertwire train has it.")
    rules: Path | None = Field(
        None, description="JSON file of rules: patterns that force, forbid or boost a label. They go into the bundle."
    )
    vectors: bool = Field(
        False,
        description="Also give the vector of each text that the head reads, as a second output of each graph.",
    )
    pooling: Pooled | None = Field(
        None,
        description="Of an encoder: the vector of its first token, or the mean or maximum over all; default: what its "
        "folder says, else mean.",
    )
    normalize: bool | None = Field(
        None,
        description="Of an encoder: whether its vectors have the length 1; default: what its folder says, else not.",
    )
    max_length: int | None = Field(
        None, ge=3, le=8192, description="Of an encoder: most tokens of a text; default: what its folder says."
    )
    fp32_min_agreement: float = Field(0.999, ge=0, le=1, description=_AGREEMENT + "fp32.")
    fp32_max_drop: float = Field(0.001, ge=0, description=_DROP + "fp32.")
    fp32_max_logit_difference: float = Field(0.001, ge=0, description=_LOGIT + "fp32.")
    fp32_max_batch_variance: float = Field(0.0001, ge=0, description=_VARIANCE + "fp32.")
    fp32_min_cosine: float = Field(0.9999, ge=0, le=1, description=_COSINE + "fp32.")
    fp32_min_neighbours: float = Field(0.99, ge=0, le=1, description=_NEIGHBOURS + "fp32.")
    fp16_min_agreement: float = Field(0.99, ge=0, le=1, description=_AGREEMENT + "fp16.")
    fp16_max_drop: float = Field(0.005, ge=0, description=_DROP + "fp16.")
    fp16_max_batch_variance: float = Field(0.001, ge=0, description=_VARIANCE + "fp16.")
    fp16_min_cosine: float = Field(0.999, ge=0, le=1, description=_COSINE + "fp16.")
    fp16_min_neighbours: float = Field(0.95, ge=0, le=1, description=_NEIGHBOURS + "fp16.")
    int8_min_agreement: float = Field(0.95, ge=0, le=1, description=_AGREEMENT + "int8.")
    int8_max_drop: float = Field(0.005, ge=0, description=_DROP + "int8.")
    int8_max_batch_variance: float = Field(0.001, ge=0, description=_VARIANCE + "int8.")
    int8_min_cosine: float = Field(0.99, ge=0, le=1, description=_COSINE + "int8.")
    int8_min_neighbours: float = Field(0.85, ge=0, le=1, description=_NEIGHBOURS + "int8.")
    overwrite: bool = Field(False, description="Replace the output folder if it exists.")

    @field_validator("output")
    @classmethod
    def _place(cls, value: Path) -> Path:
        return output_path(value)

    @field_validator("variants")
    @classmethod
    def _once(cls, value: list[Precision]) -> list[Precision]:
        return list(dict.fromkeys(value))

    @property
    def model_name(self) -> str:
        """The name that the bundle will carry."""
        return self.name or self.output.absolute().name

    @property
    def report(self) -> Path:
        """Where the report goes: beside the bundle, whose folder holds only what is sealed."""
        return self.output.with_name(f"{self.output.name}.report.html")

    def limits(self, precision: Precision) -> GateLimits:
        """Return the limits of a variant of this precision."""
        return GateLimits(
            min_label_agreement=getattr(self, f"{precision}_min_agreement"),
            max_quality_drop=getattr(self, f"{precision}_max_drop"),
            max_logit_difference=self.fp32_max_logit_difference if precision is Precision.FP32 else None,
            max_batch_variance=getattr(self, f"{precision}_max_batch_variance"),
        )

    def vector_drops(self, precision: Precision) -> dict[str, float]:
        """Return how far the scores of an encoder's variant may lie below PyTorch's, by metric."""
        least = {name: getattr(self, f"{precision}_min_{name}") for name in ("cosine", "neighbours")}
        return {name: 1 - value for name, value in least.items()}

    def require_for_encoder(self) -> None:
        """Raise `UserError` for an option that is not for an encoder without labels."""
        if self.test is not None:
            raise UserError("--test is for labelled rows; an encoder is proven on --dev and --texts")
        if self.vectors:
            raise UserError("--vectors is for checkpoints of bertwire train; an encoder gives its vectors in any case")
        if self.converter == "optimum":
            raise UserError("--converter optimum knows no pooled vectors; use --converter torch")

    def require_for_trained(self) -> None:
        """Raise `UserError` for an option of encoders."""
        options = {"--pooling": self.pooling, "--normalize": self.normalize, "--max-length": self.max_length}
        if given := [name for name, value in options.items() if value is not None]:
            raise UserError(f"{given[0]} is for an encoder that was not trained here; {self.checkpoint} has its own")

    @model_validator(mode="after")
    def _sheet_is_of_a_workbook(self) -> Self:
        require_workbook(self.sheet, (self.dev, self.test, *self.texts))
        return self

    @model_validator(mode="after")
    def _name_is_plain(self) -> Self:
        try:
            TypeAdapter(Identifier).validate_python(self.model_name)
        except ValidationError:
            raise ValueError(
                f"{self.model_name!r} cannot be a model's name: use letters, digits, '.', '_' and '-'; set --name"
            ) from None
        return self
