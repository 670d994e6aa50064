"""One ONNX Runtime session: arrays in, arrays out. Knows no text and no protocol."""

import logging
from typing import Literal

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from bertwire_client.errors import UserError, first_line
from bertwire_export.bundle import Bundle, BundleError, Variant
from bertwire_export.bundle.graph import require_self_contained
from bertwire_export.bundle.layouts import Arrays
from bertwire_export.bundle.session import PROVIDERS, cuda_fault, open_session

_log = logging.getLogger(__name__)


class Engine:
    """Runs one variant of a bundle on one provider.

    Attributes:
        variant: the variant it runs.
        provider: cpu or cuda, where it really runs.
    """

    def __init__(self, bundle: Bundle, variant: Variant, provider: Literal["cpu", "cuda"], threads: int) -> None:
        """Loads the graph from verified bytes.

        Raises:
            BundleError: the graph is not the one that was sealed, or has weights in another file.
            UserError: the session does not start, or not on the provider that was asked for.
        """
        if provider == "cuda" and (fault := cuda_fault()):
            raise UserError(fault)
        graph = bundle.read(variant.file)
        try:
            require_self_contained(graph)
        except ValueError as error:
            raise BundleError(f"{bundle.path}: {variant.file.name} {error}; export it again") from error
        try:
            self._session = open_session(graph, provider, threads)
        except Exception as error:  # onnxruntime's exceptions share no public base
            raise UserError(f"variant {variant.name} does not load on {provider}: {first_line(error)}") from error
        self._inputs = [each.name for each in self._session.get_inputs()]
        self.variant, self.provider = variant, provider

    def close(self) -> None:
        """Frees the session and its memory; nothing may be run any more."""
        del self._session

    def run(self, arrays: Arrays) -> NDArray[np.float32]:
        """Runs one batch, laid out as the variant's graph reads it, and returns its output."""
        try:
            feeds = {name: arrays[name] for name in self._inputs}
        except KeyError as error:
            name = self.variant.name
            raise BundleError(f"variant {name} reads {error.args[0]}, which its layout does not have") from None
        logits: NDArray[np.float32] = self._session.run(["logits"], feeds)[0]
        return logits


def choose_engine(
    bundle: Bundle, variant: str | None, provider: Literal["auto", "cpu", "cuda"], threads: int
) -> Engine:
    """Loads the variant that was asked for, or the bundle's fastest for the provider.

    Raises:
        UserError: the bundle has no such variant, or none for the provider, or the provider is not there.
    """
    if provider != "auto":
        return Engine(bundle, _choose_variant(bundle, variant, provider), provider, threads)
    if PROVIDERS["cuda"] in onnxruntime.get_available_providers():
        try:
            return Engine(bundle, _choose_variant(bundle, variant, "cuda"), "cuda", threads)
        except BundleError:
            raise
        except UserError as error:
            _log.warning("not on CUDA: %s", error)
    return Engine(bundle, _choose_variant(bundle, variant, "cpu"), "cpu", threads)


def _choose_variant(bundle: Bundle, name: str | None, provider: Literal["cpu", "cuda"]) -> Variant:
    variants = bundle.manifest.variants
    named = [each for each in variants if name in (None, each.name, each.precision)]
    fitting = [each for each in named if provider in each.providers]
    if not fitting:
        known = ", ".join(f"{each.name} ({'/'.join(each.providers)})" for each in variants)
        raise UserError(f"the bundle has no variant {name or ''} for {provider}; it has {known}".replace("  ", " "))
    return fitting[0]
