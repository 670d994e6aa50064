"""What methods have in common that compare a text with one vector of each class."""

from typing import ClassVar

from bertwire_core.errors import UserError
from bertwire_core.tasks import TASKS, Task
from bertwire_trainer.method import MethodOptions
from bertwire_trainer.tasks import SPECS

WITH_CLASSES = frozenset(task for task in TASKS if SPECS[task].classes)


class ClassOptions(MethodOptions):
    """Base of the options of such methods."""

    method: ClassVar[str]

    def require_task(self, task: Task) -> None:
        """Raise `UserError` for a task whose texts are not of one class each."""
        if task not in WITH_CLASSES:
            raise UserError(
                f"--method {self.method} is for {' and '.join(sorted(WITH_CLASSES))}; this is {task}, where a text has "
                "no class of its own, whose vector it could be compared with"
            )
