"""Rows of every task whose labels a tiny model learns, and what is made of them."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from bertwire_core.tasks import Task, TaskTable
from bertwire_runtime.bundle import Manifest, open_bundle
from support import WORDS

Row = dict[str, Any]
MAX_LENGTH = 16
# Random weights may lose what they like to int8.
LIMITS = {"int8_min_agreement": 0, "int8_max_drop": 9}


def filler(number: int) -> str:
    return f"{WORDS[number % 60]} {WORDS[number // 60]}" + " w1" * (number % 5)


def several(number: int) -> Row:
    """Each of two words is a label of its own; some texts have none, and few the third label."""
    labels = [name for place, name in enumerate(("good", "bad")) if number >> place & 1]
    return {"text": " ".join([filler(number), *labels]), "labels": [*labels, *["rare"] * (number % 20 == 0)]}


def tagged(number: int) -> Row:
    """`good`, in one piece or three, begins an entity; every fourth text is longer than the model reads."""
    words = ["w1", "goodxy" if number % 2 else "good", *["bad"] * (number % 3), WORDS[number % 60]]
    tags = ["O", "B-x", *["I-x"] * (number % 3), "O"]
    repeat = 6 if number % 4 == 0 else 1
    return {"tokens": words * repeat, "tags": tags * repeat}


def numbered(number: int) -> Row:
    """The number is the share of `good` words."""
    return {
        "text": " ".join([filler(number), *["good"] * (number % 4), *["bad"] * (3 - number % 4)]),
        "label": (number % 4) / 4,
    }


def paired(number: int) -> Row:
    """The label shows in the second text."""
    word = "good" if number % 2 else "bad"
    return {"text": filler(number), "text_pair": word, "label": "yes" if number % 2 else "no"}


class Kind(NamedTuple):
    """Rows of a task.

    Attributes:
        name: what tests call them.
        row: the row of a number.
        labels: the labels of a model of them, in its order.
    """

    name: str
    row: Callable[[int], Row]
    labels: tuple[str, ...]


KINDS: TaskTable[Kind] = TaskTable(
    {
        "multi_label": Kind("multi_label", several, ("bad", "good", "rare")),
        "token_classification": Kind("token_classification", tagged, ("O", "B-x", "I-x")),
        "regression": Kind("regression", numbered, ("label",)),
        "single_label": Kind("pairs", paired, ("no", "yes")),
    }
)
ROWS = {each.name: each.row for each in KINDS.values()}
LABELS = {each.name: each.labels for each in KINDS.values()}


@dataclass(frozen=True)
class Made:
    """What was trained and exported for one task."""

    kind: str
    checkpoint: Path
    bundle: Path

    @property
    def manifest(self) -> Manifest:
        """The bundle's manifest."""
        return open_bundle(self.bundle).manifest

    @property
    def task(self) -> Task:
        """The task that the kind of rows is of."""
        return next(task for task, kind in KINDS.items() if kind.name == self.kind)


def write(path: Path, row: Callable[[int], Row], numbers: range) -> Path:
    path.write_text("".join(json.dumps(row(number)) + "\n" for number in numbers))
    return path
