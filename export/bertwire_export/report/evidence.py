"""What the report is drawn from, besides the manifest."""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from bertwire_runtime.bundle.saturation import IntegerProducts


@dataclass(frozen=True, slots=True)
class Evidence:
    """What the page needs beyond the manifest, on dev. A part that is None or empty is left out.

    Attributes:
        lengths: tokens of each text before it is cut, special tokens included, in file order.
        confusion: [labels, labels], how often the true label (row) was predicted as which (column) by the manifest's
            first variant; of tags in token_classification.
        confidence: scores before calibration, scores after it, and whether each was right (bool); each [decisions].
            single_label: the score of the predicted label of a text, right where that label is the true one.
            multi_label: the score of each label of each text, right where the text has that label.
        per_label: label, precision, recall, F1 and support, one a label, of the manifest's first variant.
        scatter: regression: the true numbers and those that the manifest's first variant predicts, each [texts].
        products: the integer products of the int8 variants, by their names.
    """

    lengths: list[int]
    confusion: NDArray[np.int64] | None = None
    confidence: tuple[NDArray[np.floating], NDArray[np.floating], NDArray[np.bool_]] | None = None
    per_label: list[tuple[str, float, float, float, int]] | None = None
    scatter: tuple[NDArray[np.floating], NDArray[np.floating]] | None = None
    products: dict[str, IntegerProducts] = field(default_factory=dict)
