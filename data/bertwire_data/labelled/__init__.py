"""Labelled rows: read from tables the same way, and scored by the same figures, in training and in export.

Needs the standard library to read; numpy to encode targets; scikit-learn and scipy to score.
"""

from bertwire_data.labelled.kinds import Columns, Labelled
from bertwire_data.labelled.names import label_name, label_order
from bertwire_data.labelled.reading import collect, read_labelled
from bertwire_data.labelled.scoring import MAIN_METRIC, decisions, outside_row, present, score
from bertwire_data.labelled.targets import encode_targets

__all__ = [
    "MAIN_METRIC",
    "Columns",
    "Labelled",
    "collect",
    "decisions",
    "encode_targets",
    "label_name",
    "label_order",
    "outside_row",
    "present",
    "read_labelled",
    "score",
]
