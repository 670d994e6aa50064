"""Export of models that give any number of labels a text."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from bertwire_data.labelled import present
from bertwire_export.tasks.base import Fit, Labelled

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from bertwire_data.pages.figures import Figures
    from bertwire_export.tasks.base import Confidence, Logits


class MultiLabel(Labelled):
    """Any number of labels a text, each with a threshold."""

    compared = frozenset({"micro_f1", "macro_f1"})
    has_temperature = False
    auto_class = "AutoModelForSequenceClassification"
    optimum_task = "text-classification"

    def fit(self, logits: "Logits", targets: "NDArray[Any]") -> Fit:
        """Return a threshold for each label."""
        from bertwire_export.calibration import fit_thresholds, sigmoid

        return Fit(thresholds=tuple(fit_thresholds(sigmoid(logits), targets)))

    def confidence(self, logits: "Logits", targets: "NDArray[Any]", temperature: float) -> "Confidence | None":
        """Return the sigmoid of each label of each text, and whether the text has the label."""
        from bertwire_export.calibration import sigmoid

        return sigmoid(logits / temperature).reshape(-1), targets.reshape(-1) > 0

    def decide(self, logits: "Logits", thresholds: Sequence[float] | None) -> "NDArray[Any]":
        """Return whether each label reaches its threshold."""
        return present(logits, thresholds)

    def figures(
        self, logits: "Logits", targets: "NDArray[Any]", labels: Sequence[str], thresholds: Sequence[float] | None
    ) -> "Figures":
        """Return the scores of each label."""
        from bertwire_data.pages.figures import of_labels

        return of_labels(targets > 0, self.decide(logits, thresholds), labels)
