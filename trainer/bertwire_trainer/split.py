"""Labelled texts in memory, and what identifies them."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Split:
    """One split of the labelled data.

    Attributes:
        source: name of the file, or of the dataset and its split, that the rows came from.
        texts: the texts, in file order.
        labels: one label a text.
        rows: the number of each row in its source; the first is 1.
    """

    source: str
    texts: list[str]
    labels: list[str]
    rows: list[int]

    def __len__(self) -> int:
        return len(self.texts)

    def sha256(self) -> str:
        """Fingerprint over the rows in order: each is the JSON array `[text, label]` in UTF-8, ended by a line feed."""
        digest = hashlib.sha256()
        for row in zip(self.texts, self.labels, strict=True):
            digest.update(json.dumps(row, ensure_ascii=False).encode() + b"\n")
        return digest.hexdigest()

    def take(self, indices: Sequence[int]) -> "Split":
        """The rows at `indices`, in that order."""
        picked = [[values[index] for index in indices] for values in (self.texts, self.labels, self.rows)]
        return Split(self.source, *picked)  # type: ignore[arg-type]
