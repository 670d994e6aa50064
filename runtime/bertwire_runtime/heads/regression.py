"""A number for every text."""

from collections.abc import Iterable, Sequence

from bertwire_runtime.bundle.manifest import Manifest
from bertwire_runtime.heads.base import ByText
from bertwire_runtime.output import Floats, Output
from bertwire_runtime.thresholds import MODELS_OWN, Thresholds


class Regression(ByText):
    """The logit is the answer."""

    def scores(self, manifest: Manifest, logits: Floats) -> Floats:  # noqa: ARG002 - the seam's
        """The number itself."""
        return logits

    def names(self, manifest: Manifest) -> Sequence[str]:  # noqa: ARG002
        """Nothing: no threshold applies to a number."""
        return ()

    def given(self, manifest: Manifest, output: Output) -> Iterable[tuple[str, float]]:  # noqa: ARG002
        """Nothing to count."""
        return ()

    def chosen(
        self,
        manifest: Manifest,  # noqa: ARG002
        output: Output,  # noqa: ARG002
        thresholds: Thresholds = MODELS_OWN,  # noqa: ARG002
    ) -> list[bool]:
        """The number is always given."""
        return [True]
