"""Input and output tensors of a model, by task."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from bertwire_core.tasks import ServedTable
from bertwire_runtime.bundle import Manifest

TEXT, TEXT_PAIR = "text", "text_pair"


@dataclass(frozen=True, slots=True)
class Tensor:
    """One input or output tensor.

    Attributes:
        by_label: shape [texts, labels] instead of [texts, 1].
        by_dimension: shape [texts, dimensions].
    """

    name: str
    datatype: Literal["BYTES", "FP32", "BOOL"]
    by_label: bool = False
    by_dimension: bool = False

    def width(self, manifest: Manifest) -> int:
        """Return the number of elements per text."""
        if self.by_dimension and manifest.embedding is not None:
            return manifest.embedding.dimensions
        return len(manifest.labels) if self.by_label else 1


_LABEL, _SCORE = Tensor("label", "BYTES"), Tensor("score", "FP32")
_SCORES, _LOGITS = Tensor("scores", "FP32", by_label=True), Tensor("logits", "FP32", by_label=True)
_BY_TEXT = (_LABEL, _SCORE, _SCORES, _LOGITS)
_OUTPUTS: ServedTable[tuple[Tensor, ...]] = ServedTable(
    {
        "single_label": _BY_TEXT,
        "multi_label": (*_BY_TEXT, Tensor("labels", "BYTES")),
        "regression": _BY_TEXT,
        # The number of tokens varies by text, so token scores fit no tensor.
        "token_classification": (Tensor("entities", "BYTES"),),
        "embedding": (),
    }
)
_RULES, _ABSTAINED = Tensor("rules", "BYTES"), Tensor("abstained", "BOOL")
_EMBEDDING = Tensor("embedding", "FP32", by_dimension=True)
_SOME = (_RULES, _ABSTAINED, _EMBEDDING)
OUTPUT_NAMES = frozenset(each.name for tensors in (*_OUTPUTS.values(), _SOME) for each in tensors)


def inputs(manifest: Manifest) -> tuple[Tensor, ...]:
    """Return a model's inputs."""
    text = Tensor(TEXT, "BYTES")
    return (text, Tensor(TEXT_PAIR, "BYTES")) if manifest.text_pairs else (text,)


def outputs(manifest: Manifest) -> Mapping[str, Tensor]:
    """Return a model's outputs by name."""
    rules = () if manifest.rules is None else (_RULES,)
    abstained = () if manifest.abstention is None else (_ABSTAINED,)
    embedding = () if manifest.embedding is None else (_EMBEDDING,)
    return {each.name: each for each in (*_OUTPUTS[manifest.task], *rules, *abstained, *embedding)}
