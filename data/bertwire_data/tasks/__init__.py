"""The labelled rows of each task. No other module of this package tells tasks apart by name."""

from bertwire_core.tasks import TaskTable
from bertwire_data.tasks.base import TaskRows
from bertwire_data.tasks.multi_label import MultiLabel
from bertwire_data.tasks.regression import Regression
from bertwire_data.tasks.single_label import SingleLabel
from bertwire_data.tasks.token_classification import TokenClassification

# In the order in which rows are asked what they are labelled for; the last one matches all rows.
TASK_ROWS: TaskTable[TaskRows] = TaskTable(
    {
        "token_classification": TokenClassification(),
        "multi_label": MultiLabel(),
        "regression": Regression(),
        "single_label": SingleLabel(),
    }
)

__all__ = ["TASK_ROWS", "TaskRows"]
