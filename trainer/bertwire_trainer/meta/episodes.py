"""Episodes: small classification tasks, drawn at random from the classes of labelled texts."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy
from numpy.typing import NDArray
from torch.utils.data import Dataset

from bertwire_trainer.tokens import TokenDataset

Rows = NDArray[numpy.integer]


@dataclass(frozen=True, slots=True)
class Shape:
    """The size of an episode; a smaller task gives what it has.

    Attributes:
        ways: classes.
        shots: texts of each class that make its prototype.
        queries: texts of each class to recognize.
    """

    ways: int
    shots: int
    queries: int

    def split(self, rows: Rows) -> tuple[Rows, Rows]:
        """Return the shots and the queries of a class; too few rows are shared out, and a single one is a shot."""
        wanted = self.shots + self.queries
        rows = rows[:wanted]
        shots = max(1, len(rows) * self.shots // wanted)
        return rows[:shots], rows[shots:]


class Episodes(Dataset[list[dict[str, Any]]]):
    """A number of episodes, each the same whenever it is asked for.

    An episode is a list of texts: `input_ids`, `token_type_ids` for models that read them, `way` (the number of the
    class in the episode) and `query` (whether the text is to be recognized).
    """

    def __init__(self, tasks: Sequence[TokenDataset], shape: Shape, count: int, seed: int) -> None:
        """Draw from tasks, each with a class of two texts at least."""
        self._tasks = [(each, _by_class(each.targets)) for each in tasks]
        self._shape, self._count, self._seed = shape, count, seed

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, number: int) -> list[dict[str, Any]]:
        generator = numpy.random.default_rng((self._seed, number))
        dataset, classes = self._tasks[generator.integers(len(self._tasks))]
        episode = []
        for way, rows in enumerate(_draw(classes, self._shape.ways, generator)):
            parts = self._shape.split(generator.permutation(rows))
            for query, part in enumerate(parts):
                episode += [_item(dataset, row) | {"way": way, "query": bool(query)} for row in part]
        return episode


def _item(dataset: TokenDataset, row: numpy.integer) -> dict[str, Any]:
    return {name: value for name, value in dataset[int(row)].items() if name != "labels"}


def _by_class(targets: NDArray[Any]) -> list[Rows]:
    return [numpy.flatnonzero(targets == each) for each in numpy.unique(targets)]


def _draw(classes: list[Rows], ways: int, generator: numpy.random.Generator) -> list[Rows]:
    """Return the rows of different classes, the first of two rows at least, so that there is a query."""
    rich = [place for place, rows in enumerate(classes) if len(rows) > 1]
    first = rich[generator.integers(len(rich))]
    others = [place for place in generator.permutation(len(classes)) if place != first]
    return [classes[place] for place in [first, *others[: ways - 1]]]
