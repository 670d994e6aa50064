"""Export of models that give one label a text."""

from typing import TYPE_CHECKING, Any

from bertwire_export.tasks.base import Fit, SoftmaxExport
from bertwire_runtime.bundle.manifest import MIN_CALIBRATION_TEXTS

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from bertwire_export.tasks.base import Logits


class SingleLabel(SoftmaxExport):
    """One label a text, with a temperature."""

    compared = frozenset({"macro_f1", "accuracy"})
    has_temperature = True

    def fit(self, logits: "Logits", targets: "NDArray[Any]") -> Fit:
        """Return a temperature, fitted where there are enough texts."""
        from bertwire_export.calibration import fit_temperature

        return Fit(fit_temperature(logits, targets)) if len(logits) >= MIN_CALIBRATION_TEXTS else Fit()
