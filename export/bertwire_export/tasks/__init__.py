"""The export of each task. No other module of this package tells tasks apart by name.

Needs the standard library where nothing is computed, so that `bertwire inspect` runs without numpy.
"""

from bertwire_core.tasks import ServedTable
from bertwire_export.tasks.base import TaskExport
from bertwire_export.tasks.embedding import Embedding
from bertwire_export.tasks.multi_label import MultiLabel
from bertwire_export.tasks.regression import Regression
from bertwire_export.tasks.single_label import SingleLabel
from bertwire_export.tasks.token_classification import TokenClassification

TASK_EXPORTS: ServedTable[TaskExport] = ServedTable(
    {
        "single_label": SingleLabel(),
        "multi_label": MultiLabel(),
        "token_classification": TokenClassification(),
        "regression": Regression(),
        "embedding": Embedding(),
    }
)

__all__ = ["TASK_EXPORTS", "TaskExport"]
