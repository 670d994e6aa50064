"""The schema of `manifest.json`."""

from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

SCHEMA_VERSION = 1
MANIFEST = "manifest.json"
# One line in the format of `sha256sum`, so that anyone can check the seal: `sha256sum -c manifest.sha256`.
SEAL = "manifest.sha256"
# The signature, which a bundle may have; it is over the manifest, so the manifest does not list it.
SIGNATURE = "manifest.sig"

# A plain name: no separator, no leading dot, so that no entry can point out of the bundle or at a hidden file.
FileName = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$")]
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
# What may stand in a request, a metric's label and a folder's name.
Identifier = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")]
Share = Annotated[float, Field(ge=0, le=1)]
Provider = Literal["cpu", "cuda"]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class FileEntry(_Part):
    """A file of the bundle.

    Attributes:
        name: its name in the bundle's folder.
        bytes: its size.
        sha256: the SHA-256 of its content, in hexadecimal.
    """

    name: FileName
    bytes: int = Field(ge=1)
    sha256: Sha256


class Split(_Part):
    """The texts that a measurement was made on.

    Attributes:
        source: the file's name.
        texts: how many.
        sha256: SHA-256 over the texts and their labels, in order.
    """

    source: str
    texts: int = Field(ge=1)
    sha256: Sha256


class Scores(_Part):
    """How often a model is right on the dev texts.

    Attributes:
        accuracy: share of texts whose best label is the true one.
        macro_f1: unweighted mean of the labels' F1.
    """

    accuracy: Share
    macro_f1: Share


class Quality(Scores):
    """What a variant scored on the dev texts, and how far it is from PyTorch there.

    Attributes:
        label_agreement: share of texts where the variant and PyTorch choose the same label.
        max_logit_difference: largest absolute difference of any logit from PyTorch's.
    """

    label_agreement: Share
    max_logit_difference: float = Field(ge=0)


class Limits(_Part):
    """What a variant had to keep to be published.

    Attributes:
        min_label_agreement: least share of texts with PyTorch's label.
        max_quality_drop: most that accuracy and macro-F1 may lie below PyTorch's.
        max_logit_difference: largest absolute logit difference, or None for no limit.
    """

    min_label_agreement: Share
    max_quality_drop: Share
    max_logit_difference: float | None = Field(ge=0)


class Speed(_Part):
    """What a text cost on the machine that exported, one thread, tokenizing not included.

    Attributes:
        cpu_ms_per_text: CPU-milliseconds.
        batch_size: texts a batch, dev texts in file order.
        cpu: the processor's name.
    """

    cpu_ms_per_text: float = Field(gt=0)
    batch_size: int = Field(ge=1)
    cpu: str


class Variant(_Part):
    """One ONNX graph of the model.

    Attributes:
        name: how a server is told to use it.
        file: the graph. Inputs `input_ids`, `attention_mask` and, where the model has them, `token_type_ids`, each
            int64 [batch, tokens]; output `logits`, float32 [batch, labels].
        providers: the ONNX Runtime providers it may run on.
        precision: the number format of the linear layers.
        layout: padded: the texts of a batch are filled up on the right to the longest.
        inputs: the names of the graph's inputs.
        quality: what it scored.
        limits: what it had to score.
        speed: what it cost.
    """

    name: Identifier
    file: FileEntry
    providers: tuple[Provider, ...] = Field(min_length=1)
    precision: Literal["fp32", "int8"]
    layout: Literal["padded"]
    inputs: tuple[str, ...] = Field(min_length=2)
    quality: Quality
    limits: Limits
    speed: Speed


class Provenance(_Part):
    """Where the model came from.

    Attributes:
        base_model: the checkpoint that fine-tuning started from.
        checkpoint_sha256: SHA-256 of the fine-tuned weights file.
        training_sha256: SHA-256 of the checkpoint's `training.json`.
        dev: the texts that every variant was measured on.
        reference: what PyTorch scored there, in fp32.
        versions: version by package.
    """

    base_model: str
    checkpoint_sha256: Sha256
    training_sha256: Sha256
    dev: Split
    reference: Scores
    versions: dict[str, str]


class Manifest(_Part):
    """Everything a server needs to know of a model, and the proof of its quality.

    Attributes:
        schema_version: the version of this schema.
        name: the model's name.
        version: the model's version.
        task: single_label: exactly one label is right; scores are a softmax.
        labels: label names in logit order.
        max_length: most tokens the model reads of a text, special tokens included.
        truncation_side: the side on which longer text is cut.
        pad_token_id: the token that fills a padded batch.
        tokenizer: the `tokenizers` file.
        variants: the graphs, fastest first.
        provenance: where it all came from.
    """

    schema_version: Literal[1]
    name: Identifier
    version: Identifier
    task: Literal["single_label"]
    labels: tuple[str, ...] = Field(min_length=2)
    max_length: int = Field(ge=3, le=8192)
    truncation_side: Literal["left", "right"]
    pad_token_id: int = Field(ge=0, lt=2**31)
    tokenizer: FileEntry
    variants: tuple[Variant, ...] = Field(min_length=1)
    provenance: Provenance

    @property
    def files(self) -> tuple[FileEntry, ...]:
        """Every file that the manifest lists."""
        return (self.tokenizer, *(variant.file for variant in self.variants))

    @model_validator(mode="after")
    def _distinct(self) -> Self:
        for kind, names in (
            ("label", list(self.labels)),
            ("variant", [variant.name for variant in self.variants]),
            ("file", [entry.name for entry in self.files]),
        ):
            if len(set(names)) < len(names):
                raise ValueError(f"two {kind}s have the same name")
        if {MANIFEST, SEAL, SIGNATURE} & {entry.name for entry in self.files}:
            raise ValueError("a listed file has the manifest's own name")
        return self
