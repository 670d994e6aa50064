"""Read labelled rows from tables, and score models on them, in the same way for training and export.

Reading needs the standard library, encoding of targets numpy, scoring scikit-learn and scipy; they are imported where
they are used.
"""

from bertwire_data.columns import Columns
from bertwire_data.labelled.checks import frozen, oddities, plain
from bertwire_data.labelled.reading import collect, read_labelled
from bertwire_data.labelled.rows import Labelled
from bertwire_data.labelled.scoring import (
    MAIN_METRIC,
    METRIC_NAMES,
    decisions,
    encode_targets,
    label_order,
    row_sums,
    score,
    scores_of,
    turned,
)
from bertwire_data.tasks.label_names import label_name
from bertwire_data.tasks.multi_label import present
from bertwire_data.tasks.token_classification import outside_row

__all__ = [
    "MAIN_METRIC",
    "METRIC_NAMES",
    "Columns",
    "Labelled",
    "collect",
    "decisions",
    "encode_targets",
    "frozen",
    "label_name",
    "label_order",
    "oddities",
    "outside_row",
    "plain",
    "present",
    "read_labelled",
    "row_sums",
    "score",
    "scores_of",
    "turned",
]
