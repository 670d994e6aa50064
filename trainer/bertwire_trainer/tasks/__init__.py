"""The one table of the trainer that names tasks."""

from bertwire_core.tasks import TaskTable
from bertwire_trainer.tasks.multi_label import MULTI_LABEL
from bertwire_trainer.tasks.regression import REGRESSION
from bertwire_trainer.tasks.single_label import SINGLE_LABEL
from bertwire_trainer.tasks.spec import TaskSpec
from bertwire_trainer.tasks.token_classification import TOKEN_CLASSIFICATION

SPECS: TaskTable[TaskSpec] = TaskTable(
    {
        "single_label": SINGLE_LABEL,
        "multi_label": MULTI_LABEL,
        "token_classification": TOKEN_CLASSIFICATION,
        "regression": REGRESSION,
    }
)

__all__ = ["SPECS", "TaskSpec"]
