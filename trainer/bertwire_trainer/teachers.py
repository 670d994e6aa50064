"""What trained models say of texts, as targets that another model learns."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from typing import Any

import numpy
import torch
from numpy.lib.format import open_memmap
from numpy.typing import NDArray

from bertwire_data.labelled import Labelled
from bertwire_trainer.predict import predict
from bertwire_trainer.record import TrainingRecord
from bertwire_trainer.tasks import SPECS
from bertwire_trainer.tokens import tokenize
from bertwire_trainer.trained import load_trained

# Texts whose tokens are in memory at a time. Halved, nothing breaks; all at once, the tokens of millions would be.
_CHUNK_TEXTS = 20_000


@dataclass(frozen=True, slots=True)
class Teacher:
    """A trained checkpoint.

    Attributes:
        checkpoint: its folder.
        record: its training.json.
    """

    checkpoint: Path
    record: TrainingRecord


def teach(
    path: Path, teachers: Sequence[Teacher], labels: list[str], rows: Labelled, temperature: float, title: str
) -> NDArray[numpy.float32]:
    """Return the mean over the teachers of what they say of each row, computed once and kept in a file.

    Args:
        path: the .npy file; where it is there already, it is read. It appears whole or not at all.
        teachers: checkpoints with the same labels, in any order.
        labels: the labels in the order of the result.
        rows: the texts; their targets are not looked at.
        temperature: what the logits are divided by.
        title: the title of the bar.

    Returns:
        Floats [texts, labels], or [words of all texts, labels] for a task by word, mapped from the file: probabilities,
        or for regression the number. A word that a teacher's text is cut before has NaN.
    """
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        unfinished = path.with_suffix(".partial.npy")
        starts = [*range(len(rows) + 1)] if (words := rows.words()) is None else [0, *accumulate(words)]
        result = open_memmap(unfinished, "w+", numpy.float32, (starts[-1], len(labels)))
        for number, teacher in enumerate(teachers, start=1):
            name = f"{title} {number}/{len(teachers)}" if len(teachers) > 1 else title
            _add(result, teacher, labels, rows, starts, temperature, 1 / len(teachers), name)
        result.flush()
        unfinished.replace(path)
    found: NDArray[Any] = numpy.load(path, mmap_mode="r", allow_pickle=False)
    return found


def _add(
    result: NDArray[numpy.float32],
    teacher: Teacher,
    labels: list[str],
    rows: Labelled,
    starts: list[int],
    temperature: float,
    share: float,
    title: str,
) -> None:
    """Add `share` of what a teacher says of each row, whose places in `result` begin at `starts`."""
    model, tokenizer = load_trained(teacher.checkpoint, teacher.record)
    order = [teacher.record.labels.index(label) for label in labels]
    for first in range(0, len(rows), _CHUNK_TEXTS):
        last = min(first + _CHUNK_TEXTS, len(rows))
        part, begin, end = rows.take(range(first, last)), starts[first], starts[last]
        tokens = tokenize(model, tokenizer, part, numpy.zeros(end - begin, numpy.int64))
        logits = torch.from_numpy(predict(model, tokenizer, tokens, teacher.record.labels, title))
        means = SPECS[rows.task].mean(logits / temperature).numpy()[:, order]
        unread = numpy.ones(len(means), bool)
        unread[numpy.concatenate([tokens.rows(index) for index in range(len(tokens))])] = False
        means[unread] = numpy.nan
        result[begin:end] += share * means
