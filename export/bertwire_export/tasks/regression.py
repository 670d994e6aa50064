"""Export of models that give a number a text."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from bertwire_export.tasks.base import Fit, Labelled

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from bertwire_data.pages.figures import Figures
    from bertwire_export.tasks.base import Confidence, Logits


class Regression(Labelled):
    """A number a text: no decision and no score, but two correlations."""

    compared = frozenset({"pearson", "spearman"})
    has_temperature = False
    auto_class = "AutoModelForSequenceClassification"
    optimum_task = "text-classification"

    def fit(self, logits: "Logits", targets: "NDArray[Any]") -> Fit:  # noqa: ARG002 - of the interface
        """Return what leaves the logits as they are."""
        return Fit()

    def confidence(self, logits: "Logits", targets: "NDArray[Any]", temperature: float) -> "Confidence | None":
        """Return None: a number is no probability."""

    def decide(self, logits: "Logits", thresholds: Sequence[float] | None) -> "NDArray[Any] | None":
        """Return None: a number is no decision."""

    def figures(
        self,
        logits: "Logits",
        targets: "NDArray[Any]",
        labels: Sequence[str],  # noqa: ARG002
        thresholds: Sequence[float] | None,  # noqa: ARG002
    ) -> "Figures":
        """Return the true and the predicted numbers."""
        from bertwire_data.pages.figures import Figures

        return Figures(scatter=(targets, logits.reshape(-1)))
