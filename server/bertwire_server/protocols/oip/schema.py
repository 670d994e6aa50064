"""The inputs and outputs of a model, by its task."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from bertwire_core.tasks import TaskTable
from bertwire_runtime.bundle import Manifest

TEXT, TEXT_PAIR = "text", "text_pair"


@dataclass(frozen=True, slots=True)
class Tensor:
    """One input or output.

    Attributes:
        name: its name.
        datatype: the elements' type.
        by_label: whether a text has an element for each label, [texts, labels]; else it has one, [texts, 1].
    """

    name: str
    datatype: Literal["BYTES", "FP32"]
    by_label: bool = False

    def width(self, manifest: Manifest) -> int:
        """Elements of one text."""
        return len(manifest.labels) if self.by_label else 1


_LABEL, _SCORE = Tensor("label", "BYTES"), Tensor("score", "FP32")
_SCORES, _LOGITS = Tensor("scores", "FP32", by_label=True), Tensor("logits", "FP32", by_label=True)
_BY_TEXT = (_LABEL, _SCORE, _SCORES, _LOGITS)
_OUTPUTS: TaskTable[tuple[Tensor, ...]] = TaskTable(
    {
        "single_label": _BY_TEXT,
        "multi_label": (*_BY_TEXT, Tensor("labels", "BYTES")),
        "regression": _BY_TEXT,
        # Tokens differ in number from text to text, so their scores are no tensor.
        "token_classification": (Tensor("entities", "BYTES"),),
    }
)
OUTPUT_NAMES = frozenset(each.name for tensors in _OUTPUTS.values() for each in tensors)


def inputs(manifest: Manifest) -> tuple[Tensor, ...]:
    """What a model reads."""
    text = Tensor(TEXT, "BYTES")
    return (text, Tensor(TEXT_PAIR, "BYTES")) if manifest.text_pairs else (text,)


def outputs(manifest: Manifest) -> Mapping[str, Tensor]:
    """What a model answers, by name."""
    return {each.name: each for each in _OUTPUTS[manifest.task]}
