"""Score thresholds of a request, in place of the model's own."""

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Thresholds:
    """Least scores, each in [0, 1].

    Attributes:
        all: for every label or entity type; None: the model's own.
        by_label: per label or entity type, in place of `all`.
    """

    all: float | None = None
    by_label: Mapping[str, float] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return self.all is not None or bool(self.by_label)

    def of(self, label: str, default: float) -> float:
        """Return a label's threshold; `default` is the model's own."""
        return self.by_label.get(label, default if self.all is None else self.all)


MODELS_OWN = Thresholds()
