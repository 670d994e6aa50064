"""The texts that are measured."""

import csv
from pathlib import Path


def read_texts(path: Path) -> list[str]:
    """The column `text` of a CSV file."""
    with path.open(encoding="utf-8", newline="") as file:
        return [row["text"] for row in csv.DictReader(file)]
