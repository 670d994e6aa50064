"""Export of encoders that give a vector a text."""

from bertwire_export.tasks.regression import Regression


class Embedding(Regression):
    """A vector a text: as with numbers nothing is decided, calibrated or confused. `vectors.py` has its scores."""

    compared = frozenset({"spearman"})
    output = "number"
    rows = "texts"
