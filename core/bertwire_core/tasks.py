"""The tasks of a model, and tables with an entry for each."""

from collections.abc import Mapping
from typing import ClassVar, Literal, NoReturn, TypeVar, get_args

# What rows are labelled for, and models trained.
Task = Literal["single_label", "multi_label", "token_classification", "regression"]
TASKS: tuple[Task, ...] = get_args(Task)
# What is exported and served: these, and the vectors of an encoder, for which no row has a label.
ServedTask = Literal[Task, "embedding"]
SERVED_TASKS: tuple[ServedTask, ...] = get_args(ServedTask)

T = TypeVar("T")
K = TypeVar("K")


class _Table(dict[K, T]):
    """A table with an entry per task; the only place where a module names tasks.

    An incomplete table raises `TypeError` when created; looking up an unknown task raises `ValueError`.
    """

    tasks: ClassVar[tuple[str, ...]]

    def __init__(self, pieces: Mapping[K, T]) -> None:
        super().__init__(pieces)
        missing = ", ".join(each for each in self.tasks if each not in self)
        unknown = ", ".join(str(each) for each in self if each not in self.tasks)
        if missing or unknown:
            raise TypeError(
                f"a table of tasks has each once; missing: {missing or 'none'}; unknown: {unknown or 'none'}"
            )

    def __missing__(self, task: object) -> NoReturn:
        raise ValueError(f"there is no task {task!r}; there are {', '.join(self.tasks)}")


class TaskTable(_Table[Task, T]):
    """A table of the tasks with labels."""

    tasks = TASKS


class ServedTable(_Table[ServedTask, T]):
    """A table of all that is exported and served."""

    tasks = SERVED_TASKS
