"""What labelled rows are: the tasks, the columns they come from, and the rows in memory."""

import hashlib
import json
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import cast

from bertwire_core.tasks import Task

Inputs = list[str] | list[tuple[str, str]] | list[list[str]]
Targets = list[str] | list[list[str]] | list[float]

TEXT, TEXT_PAIR, WORDS = "text", "text_pair", "tokens"
LABEL: dict[Task, str] = {
    "single_label": "label",
    "multi_label": "labels",
    "token_classification": "tags",
    "regression": "label",
}


@dataclass(frozen=True, slots=True)
class Columns:
    """The columns to read.

    Attributes:
        text: the text; for token classification the words, where the default means `tokens` if there is such a column.
        text_pair: the second text; None: `text_pair` if there is such a column.
        label: the label, labels, tags or number; None: `label`, `labels`, `tags` or `label`, by the task.
    """

    text: str = TEXT
    text_pair: str | None = None
    label: str | None = None

    def resolved(self, task: Task, present: Collection[str]) -> "Columns":
        """The columns that are read for `task` from a table with the columns `present`: `label` is never None."""
        label = LABEL[task] if self.label is None else self.label
        if task == "token_classification":
            return Columns(
                WORDS if self.text == TEXT and (WORDS in present or TEXT not in present) else self.text, None, label
            )
        text_pair = TEXT_PAIR if self.text_pair is None and TEXT_PAIR in present else self.text_pair
        return Columns(self.text, text_pair, label)


@dataclass(frozen=True, slots=True)
class Labelled:
    """Labelled rows in memory.

    Attributes:
        source: name of the file, or of the dataset and its split, that the rows came from.
        task: what the targets are.
        inputs: texts, pairs of texts, or for token classification the words of each text, as
            `tokenizers.Tokenizer.encode_batch` takes them.
        targets: for each input its label, its labels (distinct, may be none), its words' IOB2 tags, or its number.
        rows: the number of each row in its source; the first is 1.
        columns: the columns that were read.
    """

    source: str
    task: Task
    inputs: Inputs
    targets: Targets
    rows: list[int]
    columns: Columns = Columns()

    def __len__(self) -> int:
        return len(self.inputs)

    @property
    def text_pairs(self) -> bool:
        """Whether each input is a pair of texts."""
        return isinstance(next(iter(self.inputs), None), tuple)

    def names(self) -> Iterator[str]:
        """Every label name or tag, in file order, as often as it occurs; none for regression."""
        for target in self.targets:
            if isinstance(target, str):
                yield target
            elif isinstance(target, list):
                yield from target

    def words(self) -> list[int] | None:
        """For token classification the number of words of each input, else None."""
        return [len(words) for words in self.inputs] if self.task == "token_classification" else None

    def sha256(self) -> str:
        """Fingerprint over the rows in order: each is the JSON array `[input, target]` in UTF-8, ended by a line feed.

        A pair of texts, the words, the labels and the tags are arrays within it; a number is a JSON number.
        """
        digest = hashlib.sha256()
        for row in zip(self.inputs, self.targets, strict=True):
            digest.update(json.dumps(row, ensure_ascii=False).encode() + b"\n")
        return digest.hexdigest()

    def take(self, indices: Sequence[int]) -> "Labelled":
        """The rows at `indices`, in that order."""
        return replace(
            self,
            inputs=cast(Inputs, [self.inputs[index] for index in indices]),
            targets=cast(Targets, [self.targets[index] for index in indices]),
            rows=[self.rows[index] for index in indices],
        )
