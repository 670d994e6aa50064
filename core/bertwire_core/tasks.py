"""The tasks of a model, and tables with an entry for each."""

from collections.abc import Mapping
from typing import Literal, NoReturn, TypeVar, get_args

Task = Literal["single_label", "multi_label", "token_classification", "regression"]
TASKS: tuple[Task, ...] = get_args(Task)

T = TypeVar("T")


class TaskTable(dict[Task, T]):
    """A table with an entry per task; the only place where a module names tasks.

    An incomplete table raises `TypeError` when created; looking up an unknown task raises `ValueError`.
    """

    def __init__(self, pieces: Mapping[Task, T]) -> None:
        super().__init__(pieces)
        missing = ", ".join(each for each in TASKS if each not in self)
        unknown = ", ".join(each for each in self if each not in TASKS)
        if missing or unknown:
            raise TypeError(
                f"a table of tasks has each once; missing: {missing or 'none'}; unknown: {unknown or 'none'}"
            )

    def __missing__(self, task: object) -> NoReturn:
        raise ValueError(f"there is no task {task!r}; there are {', '.join(TASKS)}")
