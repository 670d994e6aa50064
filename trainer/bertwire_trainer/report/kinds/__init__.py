"""What a report does differently for each task. No other module of the report tells tasks apart by name."""

from bertwire_core.tasks import TaskTable
from bertwire_trainer.report.kinds.base import Case, Doubts, Kind
from bertwire_trainer.report.kinds.multi_label import MultiLabel
from bertwire_trainer.report.kinds.regression import Regression
from bertwire_trainer.report.kinds.single_label import SingleLabel
from bertwire_trainer.report.kinds.token_classification import TokenClassification

KINDS: TaskTable[Kind] = TaskTable(
    {
        "single_label": SingleLabel(),
        "multi_label": MultiLabel(),
        "token_classification": TokenClassification(),
        "regression": Regression(),
    }
)

__all__ = ["KINDS", "Case", "Doubts", "Kind"]
