"""The interface of a task's export, and what the tasks with one decision a row have in common."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from bertwire_data.pages.figures import Figures

    Logits = NDArray[np.float32]
    Confidence = tuple[NDArray[np.floating], NDArray[np.bool_]]


class Fit(NamedTuple):
    """A calibration fitted to logits: the temperature that divides them, and a threshold a label or none."""

    temperature: float = 1.0
    thresholds: tuple[float, ...] = ()


class TaskExport(Protocol):
    """The interface by which logits of a task are calibrated, compared and shown, and its model is loaded. Stateless.

    A row of logits belongs to a text, or for token classification to a word that the model read.

    Attributes:
        compared: the metrics that may lie below PyTorch's by no more than the limit. The others are recorded only:
            precision and recall trade places with F1 unmoved; texts with all labels right, and errors in the target's
            own units, have no limit that fits every data set.
        has_temperature: whether a temperature may be fitted.
        auto_class: the class of transformers that loads the model.
        optimum_task: Optimum's name of the task.
        output: a number that a graph gives, in messages.
        rows: what a graph is proven on, in messages.
    """

    compared: frozenset[str]
    has_temperature: bool
    auto_class: str
    optimum_task: str
    output: str
    rows: str

    def fit(self, logits: "Logits", targets: "NDArray[Any]") -> Fit:
        """Return temperature and thresholds fitted to logits [rows, labels] and encoded targets."""

    def confidence(self, logits: "Logits", targets: "NDArray[Any]", temperature: float) -> "Confidence | None":
        """Return the score of each decision and whether it is right, both [decisions]; None without scores."""

    def decide(self, logits: "Logits", thresholds: Sequence[float] | None) -> "NDArray[Any] | None":
        """Return the label index of each row, int64 [rows]; or bool [rows, labels]; None where nothing is decided."""

    def figures(
        self, logits: "Logits", targets: "NDArray[Any]", labels: Sequence[str], thresholds: Sequence[float] | None
    ) -> "Figures":
        """Return what a report shows of the decisions beside encoded targets."""


class Labelled:
    """What the exports of models that were trained on labelled rows call what they measure."""

    output = "logit"
    rows = "dev texts"


class SoftmaxExport(Labelled):
    """The export of a task that decides for the label with the best softmax of each row."""

    has_temperature = False
    auto_class = "AutoModelForSequenceClassification"
    optimum_task = "text-classification"

    def fit(self, logits: "Logits", targets: "NDArray[Any]") -> Fit:  # noqa: ARG002 - of the interface
        """Return what leaves the logits as they are."""
        return Fit()

    def confidence(self, logits: "Logits", targets: "NDArray[Any]", temperature: float) -> "Confidence | None":
        """Return the best label's softmax, and whether that label is the target."""
        from bertwire_export.calibration import softmax_confidence

        return softmax_confidence(logits, targets, temperature)

    def decide(self, logits: "Logits", thresholds: Sequence[float] | None) -> "NDArray[Any]":  # noqa: ARG002
        """Return the index of the largest logit of each row."""
        best: NDArray[Any] = logits.argmax(axis=1)
        return best

    def figures(
        self, logits: "Logits", targets: "NDArray[Any]", labels: Sequence[str], thresholds: Sequence[float] | None
    ) -> "Figures":
        """Return the confusion of the labels, and the scores of each."""
        from bertwire_data.pages.figures import of_classes

        return of_classes(targets, self.decide(logits, thresholds), labels)
