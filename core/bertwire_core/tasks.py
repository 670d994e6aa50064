"""The tasks of a model, and tables with one piece for each of them."""

from collections.abc import Mapping
from typing import Literal, NoReturn, TypeVar, get_args

Task = Literal["single_label", "multi_label", "token_classification", "regression"]
TASKS: tuple[Task, ...] = get_args(Task)

T = TypeVar("T")


class TaskTable(dict[Task, T]):
    """What a part does differently for each task. The only place where the part names tasks.

    A table that lacks a task is an error when it is made, so a new task cannot be forgotten; looking up a task that
    does not exist raises `ValueError`.
    """

    def __init__(self, pieces: Mapping[Task, T]) -> None:
        super().__init__(pieces)
        if wrong := set(TASKS) ^ set(self):
            raise TypeError(f"a table of tasks has exactly {', '.join(TASKS)}; wrong: {', '.join(sorted(wrong))}")

    def __missing__(self, task: object) -> NoReturn:
        raise ValueError(f"there is no task {task!r}; there are {', '.join(TASKS)}")
