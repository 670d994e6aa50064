"""The schema of `manifest.json`."""

import sys
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from bertwire_core.tasks import Task, TaskTable

SCHEMA_VERSION = 3
# Still read: bundles of schema 2 are as those of 3, without a probe.
READABLE_VERSIONS = (2, SCHEMA_VERSION)
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
Distance = Annotated[float, Field(ge=0)]
# Beyond these a score says nothing of its logit any more.
MIN_TEMPERATURE, MAX_TEMPERATURE = 0.25, 10.0
# With fewer dev texts the temperature stays 1: three texts of SST-2 gave 10, and honest scores became worthless.
MIN_CALIBRATION_TEXTS = 100
Provider = Literal["cpu", "cuda"]
# Of each task how many labels it has, and whether each has a threshold.
_LABELS: TaskTable[tuple[range, bool]] = TaskTable(
    {
        "single_label": (range(2, sys.maxsize), False),
        "multi_label": (range(1, sys.maxsize), True),
        "token_classification": (range(2, sys.maxsize), False),
        "regression": (range(1, 2), False),
    }
)
Layout = Literal["padded", "packed"]

# By metric. single_label: macro_f1, accuracy. multi_label: micro_f1, macro_f1, subset_accuracy. token_classification:
# f1, precision, recall, of entities. regression: pearson, spearman, mae.
Scores = dict[str, float]


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


class Quality(_Part):
    """What a variant scored on a split, and how far it is from PyTorch there.

    Attributes:
        scores: by metric.
        label_agreement: share of decisions that PyTorch makes too: the text's label; each label of a text, present or
            not; each word's tag. None for regression.
        max_logit_difference: largest absolute difference of any logit from PyTorch's.
        p99_logit_difference: 99th percentile of the absolute differences.
    """

    scores: Scores
    label_agreement: Share | None
    max_logit_difference: Distance
    p99_logit_difference: Distance


class Limits(_Part):
    """What a variant had to keep to be published.

    Attributes:
        min_label_agreement: least `label_agreement` on dev.
        max_quality_drop: most that accuracy, an F1 or a correlation may lie below PyTorch's on dev.
        max_logit_difference: largest absolute logit difference, or None for no limit.
        max_batch_variance: largest batch variance.
    """

    min_label_agreement: Share
    max_quality_drop: Distance
    max_logit_difference: Distance | None
    max_batch_variance: Distance


class Speed(_Part):
    """What a text cost on the machine that exported, in dev texts in file order, tokenizing not included.

    Attributes:
        cpu_ms_per_text: CPU-milliseconds, one thread; None where it was measured on CUDA.
        ms_per_text: wall-clock milliseconds.
        batch_size: texts a batch; on CUDA as many as have 16,384 tokens in the mean.
        device: the processor's or card's name.
    """

    cpu_ms_per_text: Annotated[float, Field(gt=0)] | None
    ms_per_text: float = Field(gt=0)
    batch_size: int = Field(ge=1)
    device: str

    @property
    def cost(self) -> float:
        """What variants of one provider are compared by: CPU time, which other work sways less, where there is one."""
        return self.ms_per_text if self.cpu_ms_per_text is None else self.cpu_ms_per_text


class Proof(_Part):
    """What was measured of one graph on one provider.

    Attributes:
        provider: where it ran.
        dev: what it scored on the dev texts.
        test: what it scored on the test texts, where there were any.
        batch_variance: largest absolute difference of any logit of a text alone and among 1, 15 and 63 others.
        speed: what it cost.
        limits: what it had to keep.
        faults: the limits that it broke, in words.
    """

    provider: Provider
    dev: Quality
    test: Quality | None
    batch_variance: Distance
    speed: Speed
    limits: Limits
    faults: tuple[str, ...]


class Candidate(_Part):
    """One graph that export built and measured.

    Attributes:
        name: names precision, layout and what else tells it from the others.
        precision: the number format of the linear layers.
        layout: see `Variant`.
        proofs: what was measured, one a provider.
    """

    name: Identifier
    precision: Literal["fp32", "fp16", "int8"]
    layout: Layout
    proofs: tuple[Proof, ...] = Field(min_length=1)


class Variant(Candidate):
    """A published candidate: an ONNX graph of the bundle.

    Attributes:
        file: the graph.
        providers: the ONNX Runtime providers that it was proven on, and may run on.
        groups: in how many length groups the packed layout deals the texts for attention; 0 for the padded layout, and
            for packed attention on CUDA, which finds the texts itself.
        skips_padding: whether positions of the packed layout leave padding tokens out, as RoBERTa's do.
        forced: whether it was published although a proof has faults, because the exporter was told to.
        layout: padded: the texts of a batch are filled up on the right to the longest. packed: they lie end to end.
            `bertwire_runtime.layouts` makes the inputs of both.
    """

    file: FileEntry
    providers: tuple[Provider, ...] = Field(min_length=1)
    groups: int = Field(ge=0, le=16)
    skips_padding: bool = False
    forced: bool

    @model_validator(mode="after")
    def _proven(self) -> Self:
        if set(self.providers) != {proof.provider for proof in self.proofs}:
            raise ValueError("a variant's providers and its proofs differ")
        if any(proof.faults for proof in self.proofs) and not self.forced:
            raise ValueError("a variant with faults is not marked as forced")
        if self.groups and self.layout != "packed":
            raise ValueError("groups belong to the packed layout")
        if not self.groups and self.layout == "packed" and "cpu" in self.providers:
            raise ValueError("groups belong to the packed layout on the CPU")
        return self


class Calibration(_Part):
    """What turns logits into honest scores, fitted on the dev texts with PyTorch's logits.

    Attributes:
        temperature: single_label: the logits are divided by it before the softmax. 1 elsewhere.
        thresholds: multi_label: for each label the least score at which it counts as present. Empty elsewhere.
        ece_before: expected calibration error of PyTorch's scores on dev at temperature 1, or None where a score is
            not a probability.
        ece_after: the same with the temperature.
    """

    temperature: float = Field(ge=MIN_TEMPERATURE, le=MAX_TEMPERATURE)
    thresholds: tuple[Share, ...]
    ece_before: Share | None
    ece_after: Share | None


class Reference(_Part):
    """What PyTorch scored in fp32.

    Attributes:
        dev: on the dev texts.
        test: on the test texts, where there were any.
    """

    dev: Scores
    test: Scores | None


class Provenance(_Part):
    """Where the model came from.

    Attributes:
        base_model: the checkpoint that fine-tuning started from.
        checkpoint_sha256: SHA-256 of the fine-tuned weights file.
        training_sha256: SHA-256 of the checkpoint's `training.json`.
        converter: what wrote the first ONNX graph.
        dev: the texts that every candidate was measured on.
        test: further texts, where there were any.
        reference: PyTorch's scores there.
        versions: version by package.
    """

    base_model: str
    checkpoint_sha256: Sha256
    training_sha256: Sha256
    converter: Literal["torch", "optimum"]
    dev: Split
    test: Split | None
    reference: Reference
    versions: dict[str, str]


class Manifest(_Part):
    """Everything a server needs to know of a model, and the proof of its quality.

    Attributes:
        schema_version: the version of this schema.
        name: the model's name.
        version: the model's version.
        task: single_label: exactly one label is right; scores are a softmax. multi_label: any number, or none; scores
            are sigmoids. token_classification: an IOB2 tag for each word. regression: one number.
        text_pairs: whether the model reads two texts at a time.
        labels: label or tag names in logit order; for regression the name of the number.
        max_length: most tokens the model reads of a text or pair, special tokens included.
        truncation_side: the side on which longer text is cut.
        pad_token_id: the token that fills a padded batch.
        tokenizer: the `tokenizers` file.
        probe: sequences of tokens with each variant's logits (`bertwire_runtime.probe`); None in schema 2.
        calibration: what turns logits into scores.
        variants: the graphs; of those for one provider, the fastest first.
        candidates: every graph that was built and not published, with what was measured of it.
        provenance: where it all came from.
    """

    schema_version: Literal[2, 3]
    name: Identifier
    version: Identifier
    task: Task
    text_pairs: bool
    labels: tuple[str, ...] = Field(min_length=1)
    max_length: int = Field(ge=3, le=8192)
    truncation_side: Literal["left", "right"]
    pad_token_id: int = Field(ge=0, lt=2**31)
    tokenizer: FileEntry
    probe: FileEntry | None = None
    calibration: Calibration
    variants: tuple[Variant, ...] = Field(min_length=1)
    candidates: tuple[Candidate, ...]
    provenance: Provenance

    @property
    def files(self) -> tuple[FileEntry, ...]:
        """Every file that the manifest lists."""
        probe = () if self.probe is None else (self.probe,)
        return (self.tokenizer, *probe, *(variant.file for variant in self.variants))

    @model_validator(mode="after")
    def _probe_by_schema(self) -> Self:
        if (self.probe is None) != (self.schema_version < SCHEMA_VERSION):
            raise ValueError(f"schema {SCHEMA_VERSION} has a probe, those before it have none")
        return self

    @model_validator(mode="after")
    def _distinct(self) -> Self:
        for kind, names in (
            ("label", list(self.labels)),
            ("variant", [each.name for each in (*self.variants, *self.candidates)]),
            ("file", [entry.name for entry in self.files]),
        ):
            if len(set(names)) < len(names):
                raise ValueError(f"two {kind}s have the same name")
        if {MANIFEST, SEAL, SIGNATURE} & {entry.name for entry in self.files}:
            raise ValueError("a listed file has the manifest's own name")
        return self

    @model_validator(mode="after")
    def _labels_fit_task(self) -> Self:
        labels, has_thresholds = _LABELS[self.task]
        if len(self.labels) not in labels:
            raise ValueError(f"{len(self.labels)} labels do not fit the task {self.task}")
        if len(self.calibration.thresholds) != (len(self.labels) if has_thresholds else 0):
            raise ValueError(f"{len(self.calibration.thresholds)} thresholds do not fit the task {self.task}")
        return self
