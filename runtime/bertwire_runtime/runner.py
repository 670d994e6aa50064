"""One graph in an ONNX Runtime session."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bertwire_runtime.bundle.errors import BundleError
from bertwire_runtime.bundle.proof import Provider
from bertwire_runtime.layouts import Arrays, Layout, Tokens, arrange
from bertwire_runtime.session import open_session


class Runner:
    """A graph that runs batches of tokenized texts, one at a time."""

    def __init__(self, graph: Path | bytes, layout: Layout, provider: Provider, threads: int) -> None:
        """Open the session.

        Raises:
            UserError: the provider is unavailable on this machine.
            Exception: ONNX Runtime cannot load the graph; its exceptions share no public base.
        """
        self._session = open_session(graph, provider, threads)
        self.layout = layout
        self._names = [each.name for each in self._session.get_inputs()]
        # The second is that of a classifier that gives its pooled vector too.
        known = {each.name for each in self._session.get_outputs()}
        self._outputs = [name for name in ("logits", "embedding") if name in known or name == "logits"]

    def arrange(self, texts: Sequence[Tokens]) -> Arrays:
        """Return a batch as the graph's inputs; raise `BundleError` where the layout lacks one of them."""
        arrays = arrange(texts, self.layout)
        try:
            return {name: arrays[name] for name in self._names}
        except KeyError as error:
            raise BundleError(f"the graph reads {error.args[0]}, which its layout does not have") from None

    def run(self, arrays: Arrays) -> NDArray[np.float32]:
        """Run the graph and return its raw output; of a classifier with a vector that too, in the same rows."""
        found: list[NDArray[np.float32]] = self._session.run(self._outputs, arrays)
        return found[0] if len(found) == 1 else np.concatenate(found, axis=-1)

    def by_text(self, texts: Sequence[Tokens]) -> list[NDArray[np.float32]]:
        """Run one batch and return each text's logits, float32 [labels] or [tokens, labels]."""
        return self.layout.by_text(self.run(self.arrange(texts)), [len(text.ids) for text in texts])

    def close(self) -> None:
        """Free the session and its memory; call nothing afterwards."""
        del self._session
