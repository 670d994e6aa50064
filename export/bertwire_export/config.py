"""What `bertwire export` can be told."""

from enum import StrEnum
from pathlib import Path
from typing import Literal, Self

from pydantic import Field, TypeAdapter, ValidationError, field_validator, model_validator

from bertwire_client.options import Config, argument
from bertwire_export.bundle import Identifier


class Precision(StrEnum):
    """The number format of a variant's linear layers."""

    FP32 = "fp32"
    INT8 = "int8"


class ExportConfig(Config):
    """Settings of one export; each becomes an option of the command."""

    checkpoint: Path = argument("Folder written by bertwire train.")
    output: Path = Field(description="Folder of the bundle to write; must not exist.")
    name: str | None = Field(None, description="The model's name for its clients; default: the output folder's name.")
    version: Identifier = Field("1", description="The model's version.")
    variants: list[Precision] = Field(
        [Precision.FP32, Precision.INT8], description="Which variants to build; repeat for several."
    )
    converter: Literal["torch", "optimum"] = Field("torch", description="Who writes the graph; both are proven alike.")
    optimum_python: Path = Field(
        Path(".optimum/bin/python"), description="Interpreter for --converter optimum; make optimum makes it."
    )
    dev: Path | None = Field(
        None, description="Labelled texts to prove the variants on; default: the dev texts of the training."
    )
    text_column: str = Field("text", description="Column of --dev that holds the text.")
    label_column: str = Field("label", description="Column of --dev that holds the label.")
    fp32_min_agreement: float = Field(0.999, ge=0, le=1, description="Least share of texts with PyTorch's label, fp32.")
    fp32_max_logit_difference: float = Field(0.001, ge=0, description="Largest difference of a logit, fp32.")
    int8_min_agreement: float = Field(0.95, ge=0, le=1, description="Least share of texts with PyTorch's label, int8.")
    int8_max_drop: float = Field(
        0.01, ge=0, le=1, description="Most that int8 accuracy or macro-F1 may lie below PyTorch's."
    )
    overwrite: bool = Field(False, description="Replace the output folder if it exists.")

    @field_validator("variants")
    @classmethod
    def _some_once(cls, value: list[Precision]) -> list[Precision]:
        if not value:
            raise ValueError("name at least one variant")
        return list(dict.fromkeys(value))

    @property
    def model_name(self) -> str:
        """The name that the bundle will carry."""
        return self.name or self.output.absolute().name

    @model_validator(mode="after")
    def _name_is_plain(self) -> Self:
        try:
            TypeAdapter(Identifier).validate_python(self.model_name)
        except ValidationError:
            raise ValueError(
                f"{self.model_name!r} cannot be a model's name: use letters, digits, '.', '_' and '-'; set --name"
            ) from None
        return self
