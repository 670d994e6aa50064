"""The schema of `manifest.json`."""

import sys
from typing import Annotated, Literal, NamedTuple, Self

from pydantic import Field, model_validator

from bertwire_core.chunks import Chunks
from bertwire_core.pooling import Pooled
from bertwire_core.tasks import ServedTable, ServedTask
from bertwire_runtime.bundle.proof import Part, Proof, Provider, Scores, Share

SCHEMA_VERSION = 4
# Schema 3 is schema 4 without rules, models that abstain, texts in chunks and embeddings; schema 2 is schema 3 without
# a probe.
READABLE_VERSIONS = (2, 3, SCHEMA_VERSION)
# The first schema with a probe.
_PROBE_VERSION = 3
MANIFEST = "manifest.json"
# One line for `sha256sum -c manifest.sha256`.
SEAL = "manifest.sha256"
# Optional; signs the manifest, so the manifest does not list it.
SIGNATURE = "manifest.sig"

# No separator and no leading dot, so that no entry can point outside the bundle or at a hidden file.
FileName = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$")]
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
# Valid in requests, metric labels and folder names.
Identifier = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")]
# Outside this range scores no longer discriminate.
MIN_TEMPERATURE, MAX_TEMPERATURE = 0.25, 10.0
# Dev texts below which the temperature stays 1; three texts of SST-2 gave 10 and useless scores.
MIN_CALIBRATION_TEXTS = 100


class _Allowed(NamedTuple):
    """What a manifest of a task may have.

    Attributes:
        labels: how many labels.
        temperature: a temperature.
        thresholds: a threshold for each label.
        abstention: a model that abstains.
        chunks: texts in chunks.
        embedding: a vector: none, one beside its labels or number, or alone.
    """

    labels: range
    temperature: bool = False
    thresholds: bool = False
    abstention: bool = False
    chunks: bool = True
    embedding: Literal["none", "beside", "alone"] = "beside"


_ALLOWED: ServedTable[_Allowed] = ServedTable(
    {
        "single_label": _Allowed(range(2, sys.maxsize), temperature=True, abstention=True),
        "multi_label": _Allowed(range(1, sys.maxsize), thresholds=True),
        "token_classification": _Allowed(range(2, sys.maxsize), chunks=False, embedding="none"),
        "regression": _Allowed(range(1, 2)),
        "embedding": _Allowed(range(1), chunks=False, embedding="alone"),
    }
)
Layout = Literal["padded", "packed"]


class FileEntry(Part):
    """A file of the bundle."""

    name: FileName
    bytes: int = Field(ge=1)
    sha256: Sha256


class Split(Part):
    """The texts of a measurement.

    Attributes:
        source: the file's name.
        texts: number of texts.
        sha256: SHA-256 over the texts and their labels, in order.
    """

    source: str
    texts: int = Field(ge=1)
    sha256: Sha256


class Candidate(Part):
    """A graph that export built and measured.

    Attributes:
        name: precision, layout and anything else that distinguishes it.
        precision: number format of the linear layers.
        proofs: measurements, one per provider.
    """

    name: Identifier
    precision: Literal["fp32", "fp16", "int8"]
    layout: Layout
    proofs: tuple[Proof, ...] = Field(min_length=1)


class Variant(Candidate):
    """A published candidate: an ONNX graph of the bundle.

    Attributes:
        providers: the ONNX Runtime providers on which it was proven and may run.
        groups: length groups of the packed layout's attention; 0 for the padded layout, and for packed attention on
            CUDA, which needs none.
        skips_padding: whether positions of the packed layout skip padding tokens, as RoBERTa's do.
        forced: whether it was published in spite of faults, on the exporter's request.
        layout: padded: texts are padded on the right to the longest. packed: texts are concatenated. See
            `bertwire_runtime.layouts`.
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


class Calibration(Part):
    """Calibration of scores, fitted on the dev texts with PyTorch's logits.

    Attributes:
        temperature: single_label: divisor of the logits before the softmax. 1 otherwise.
        thresholds: multi_label: per label the least score that counts as present; 0: whatever its score, but where a
            rule forbids it. Empty otherwise.
        ece_before: expected calibration error of PyTorch's scores on dev at temperature 1; None where scores are no
            probabilities.
        ece_after: the same with the temperature.
    """

    temperature: float = Field(ge=MIN_TEMPERATURE, le=MAX_TEMPERATURE)
    thresholds: tuple[Share, ...]
    ece_before: Share | None
    ece_after: Share | None


class RulesEffect(Part):
    """What rules change on a split, by PyTorch's logits; `Reference` has the scores without them.

    Attributes:
        matched: texts that each rule matches, in file order.
        changed: texts with another decision.
        scores: by metric, with the rules.
    """

    matched: tuple[Annotated[int, Field(ge=0)], ...]
    changed: int = Field(ge=0)
    scores: Scores


class Rules(Part):
    """The rules of a bundle.

    Attributes:
        file: the file of the rules (`bertwire_runtime.rules`).
        names: their names, in file order.
        dev, test: what they change on the texts of the proofs.
    """

    file: FileEntry
    names: tuple[Identifier, ...] = Field(min_length=1)
    dev: RulesEffect
    test: RulesEffect | None


class Abstention(Part):
    """When the model abstains from a text, which then looks like none of its labels.

    Attributes:
        threshold: least `bertwire_core.scope.scopes` of a text that the model decides for.
        dev: share of the dev texts from which PyTorch abstains.
        test: the same of the test texts; None without them.
    """

    threshold: float
    dev: Share
    test: Share | None


class Embedding(Part):
    """The vector that the model gives for a text.

    Attributes:
        dimensions: its length.
        pooling: what the graph makes one vector of a text's tokens by; special tokens count.
        normalize: whether the graph divides it by its Euclidean norm.
    """

    dimensions: int = Field(ge=1)
    pooling: Pooled
    normalize: bool


class Reference(Part):
    """PyTorch's scores in fp32."""

    dev: Scores
    test: Scores | None


class Provenance(Part):
    """Origin of the model.

    Attributes:
        base_model: the checkpoint before fine-tuning.
        checkpoint_sha256: SHA-256 of the weights file.
        training_sha256: SHA-256 of the checkpoint's `training.json`; None for an encoder that was not trained here.
        converter: the tool that wrote the first ONNX graph.
        dev: the texts that every candidate was measured on.
        test: further texts, if any.
        texts: texts without labels on which every candidate was compared with PyTorch, if any.
        reference: PyTorch's scores on them.
        versions: version by package.
    """

    base_model: str
    checkpoint_sha256: Sha256
    training_sha256: Sha256 | None
    converter: Literal["torch", "optimum"]
    dev: Split
    test: Split | None
    texts: Split | None = None
    reference: Reference
    versions: dict[str, str]


class Manifest(Part):
    """The description of a model, with the measurements of its quality.

    Attributes:
        task: single_label: exactly one label, softmax scores. multi_label: any number of labels, sigmoid scores.
            token_classification: an IOB2 tag per word. regression: one number. embedding: a vector.
        text_pairs: whether the model takes text pairs.
        labels: label or tag names in logit order; for regression the number's name; none for an embedding.
        max_length: most tokens of a text or pair, special tokens included.
        chunks: chunks in which a longer text is read at most; its logits are the mean of theirs.
        chunk_overlap: tokens that a chunk repeats of the one before.
        truncation_side: the side on which longer text is cut.
        probe: token sequences with each variant's logits (`bertwire_runtime.probe`); None in schema 2.
        rules: patterns that change decisions; None where it has none.
        abstention: when the model abstains; None where it never does.
        embedding: the vector that it gives, alone or beside labels or number; None for none.
        variants: the graphs; for each provider, the fastest first.
        candidates: graphs that were built and not published, with their measurements.
    """

    schema_version: Literal[2, 3, 4]
    name: Identifier
    version: Identifier
    task: ServedTask
    text_pairs: bool
    labels: tuple[str, ...]
    max_length: int = Field(ge=3, le=8192)
    chunks: int = Field(1, ge=1, le=64)
    chunk_overlap: int = Field(0, ge=0)
    truncation_side: Literal["left", "right"]
    pad_token_id: int = Field(ge=0, lt=2**31)
    tokenizer: FileEntry
    probe: FileEntry | None = None
    rules: Rules | None = None
    calibration: Calibration
    abstention: Abstention | None = None
    embedding: Embedding | None = None
    variants: tuple[Variant, ...] = Field(min_length=1)
    candidates: tuple[Candidate, ...]
    provenance: Provenance

    @model_validator(mode="after")
    def _chunks_fit(self) -> Self:
        allowed = _ALLOWED[self.task].chunks and not self.text_pairs and self.schema_version == SCHEMA_VERSION
        if self.chunks > 1 and not allowed:
            raise ValueError("chunks are for single texts with labels or numbers, from schema 4 on")
        if self.chunk_overlap > self.max_length // 2:
            raise ValueError("chunk_overlap is above half of max_length")
        return self

    @property
    def width(self) -> int:
        """Return how many numbers the graph gives for a text, or for each of its tokens: logits, then the vector."""
        return len(self.labels) + (0 if self.embedding is None else self.embedding.dimensions)

    @property
    def most_tokens(self) -> int:
        """Return the tokens of a text that the model reads at most, of chunks those that they share too."""
        return self.max_length * self.chunks

    @property
    def reads(self) -> str:
        """Return how much of a text the model reads, in words."""
        return Chunks(self.chunks, self.chunk_overlap).reads(self.max_length)

    @property
    def files(self) -> tuple[FileEntry, ...]:
        """Return every file that the manifest lists."""
        probe = () if self.probe is None else (self.probe,)
        rules = () if self.rules is None else (self.rules.file,)
        return (self.tokenizer, *probe, *rules, *(variant.file for variant in self.variants))

    @model_validator(mode="after")
    def _probe_by_schema(self) -> Self:
        if (self.probe is None) != (self.schema_version < _PROBE_VERSION):
            raise ValueError(f"schema {_PROBE_VERSION} and later have a probe, those before it have none")
        if self.rules is not None and self.schema_version < SCHEMA_VERSION:
            raise ValueError(f"schemas before {SCHEMA_VERSION} have no rules")
        return self

    @model_validator(mode="after")
    def _abstention_by_task(self) -> Self:
        if self.abstention is not None and (not _ALLOWED[self.task].abstention or self.schema_version < SCHEMA_VERSION):
            raise ValueError(f"a model of {self.task} in schema {self.schema_version} does not abstain")
        return self

    @model_validator(mode="after")
    def _embedding_by_task(self) -> Self:
        if _ALLOWED[self.task].embedding == ("alone" if self.embedding is None else "none"):
            raise ValueError(f"a model of {self.task} has {'no embedding' if self.embedding else 'an embedding'}")
        if self.embedding is not None and self.schema_version < SCHEMA_VERSION:
            raise ValueError(f"schemas before {SCHEMA_VERSION} have no embeddings")
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
        allowed = _ALLOWED[self.task]
        if len(self.labels) not in allowed.labels:
            raise ValueError(f"{len(self.labels)} labels do not fit the task {self.task}")
        if len(self.calibration.thresholds) != (len(self.labels) if allowed.thresholds else 0):
            raise ValueError(f"{len(self.calibration.thresholds)} thresholds do not fit the task {self.task}")
        if self.calibration.temperature != 1 and not allowed.temperature:
            raise ValueError(f"a temperature of {self.calibration.temperature:g} does not fit the task {self.task}")
        return self
