"""Export of models that give a tag a word."""

from bertwire_export.tasks.base import SoftmaxExport


class TokenClassification(SoftmaxExport):
    """One tag a word, scored by entities."""

    compared = frozenset({"f1"})
    auto_class = "AutoModelForTokenClassification"
    optimum_task = "token-classification"
