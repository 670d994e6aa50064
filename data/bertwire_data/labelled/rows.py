"""Labelled rows in memory."""

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import cast

from bertwire_core.tasks import Task
from bertwire_data.columns import Columns
from bertwire_data.tasks import TASK_ROWS
from bertwire_data.tasks.base import Target

Inputs = list[str] | list[tuple[str, str]] | list[list[str]]
Targets = list[str] | list[list[str]] | list[float]


@dataclass(frozen=True, slots=True)
class Labelled:
    """Labelled rows in memory.

    Attributes:
        source: name of the file, or of the dataset and its split, that the rows came from.
        task: the task of the targets.
        inputs: texts, pairs of texts, or for token classification the words of each text, as
            `tokenizers.Tokenizer.encode_batch` takes them.
        targets: for each input its label, its labels (distinct, may be none), its words' IOB2 tags, or its number.
        rows: the number of each row in its source; the first is 1, in a workbook the number that its sheet shows.
        columns: the columns that were read.
        remarks: how the file was read, where that was found out and not said; one line each.
    """

    source: str
    task: Task
    inputs: Inputs
    targets: Targets
    rows: list[int]
    columns: Columns = field(default_factory=Columns)
    remarks: Sequence[str] = ()

    def __len__(self) -> int:
        return len(self.inputs)

    @property
    def by_word(self) -> bool:
        """Whether each input is a list of words with a target for each."""
        return TASK_ROWS[self.task].by_word

    @property
    def text_pairs(self) -> bool:
        """Whether each input is a pair of texts."""
        return isinstance(next(iter(self.inputs), None), tuple)

    def names(self) -> Iterator[str]:
        """Yield every label name or tag, in file order, as often as it occurs; none for regression."""
        for target in self.targets:
            yield from names_of(target)

    def words(self) -> list[int] | None:
        """Return the number of words of each input for token classification, else None."""
        return [len(words) for words in self.inputs] if self.by_word else None

    def sha256(self) -> str:
        """Return the SHA-256 of the rows in order, each the JSON array `[input, target]` in UTF-8 and a line feed.

        A pair of texts, the words, the labels and the tags are arrays within it; a number is a JSON number.
        """
        digest = hashlib.sha256()
        for row in zip(self.inputs, self.targets, strict=True):
            digest.update(json.dumps(row, ensure_ascii=False).encode() + b"\n")
        return digest.hexdigest()

    def take(self, indices: Sequence[int]) -> "Labelled":
        """Return the rows at `indices`, in that order."""
        return replace(
            self,
            inputs=cast(Inputs, [self.inputs[index] for index in indices]),
            targets=cast(Targets, [self.targets[index] for index in indices]),
            rows=[self.rows[index] for index in indices],
        )


def names_of(target: Target) -> list[str]:
    """Return the label names or tags of one target; none of a number."""
    if isinstance(target, str):
        return [target]
    return target if isinstance(target, list) else []
