"""Heads: the interpretation of logits, per task."""

from bertwire_core.tasks import ServedTable
from bertwire_runtime.heads.base import Head
from bertwire_runtime.heads.embedding import Embedding
from bertwire_runtime.heads.multi_label import MultiLabel
from bertwire_runtime.heads.regression import Regression
from bertwire_runtime.heads.single_label import SingleLabel
from bertwire_runtime.heads.token_classification import TokenClassification

HEADS: ServedTable[Head] = ServedTable(
    {
        "single_label": SingleLabel(),
        "multi_label": MultiLabel(),
        "token_classification": TokenClassification(),
        "regression": Regression(),
        "embedding": Embedding(),
    }
)

__all__ = ["HEADS", "Head"]
