"""The head for the vector of a text alone."""

from collections.abc import Iterable, Sequence

from bertwire_runtime.bundle.manifest import Manifest
from bertwire_runtime.heads.base import ByText
from bertwire_runtime.output import Floats, Output
from bertwire_runtime.thresholds import MODELS_OWN, Thresholds


class Embedding(ByText):
    """The vector is the graph's: it pools and normalizes. There is nothing to score or decide."""

    def scores(self, manifest: Manifest, logits: Floats) -> Floats:  # noqa: ARG002 - the interface's
        """Return what is empty."""
        return logits

    def names(self, manifest: Manifest) -> Sequence[str]:  # noqa: ARG002
        """Return no names: thresholds do not apply."""
        return ()

    def given(self, manifest: Manifest, output: Output) -> Iterable[tuple[str, float]]:  # noqa: ARG002
        """Return no labels."""
        return ()

    def chosen(
        self,
        manifest: Manifest,  # noqa: ARG002
        output: Output,  # noqa: ARG002
        thresholds: Thresholds = MODELS_OWN,  # noqa: ARG002
    ) -> list[bool]:
        """Return nothing: there are no labels."""
        return []
