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
from bertwire_export.cores import run_threads

_PROVIDERS = {"cpu": "CPUExecutionProvider", "cuda": "CUDAExecutionProvider"}
_UNAVAILABLE = "ONNX Runtime cannot use {} here: check the driver, and that '.[serve,gpu]' is installed"
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
        if _PROVIDERS[provider] not in onnxruntime.get_available_providers():
            raise UserError(_UNAVAILABLE.format(provider))
        if provider == "cuda":
            onnxruntime.preload_dlls()  # finds the CUDA libraries that come as wheels
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = run_threads(threads)
        options.log_severity_level = 4  # what it would log it also raises
        # It plans memory anew for every shape of batch, and keeps each plan: docs/decisions/015-memory.md.
        options.enable_mem_pattern = False
        # The one format whose weights are known to lie in the very bytes that were verified.
        options.add_session_config_entry("session.load_model_format", "ONNX")
        graph = bundle.read(variant.file)
        try:
            require_self_contained(graph)
        except ValueError as error:
            raise BundleError(f"{bundle.path}: {variant.file.name} {error}; export it again") from error
        try:
            self._session = onnxruntime.InferenceSession(graph, options, providers=[_PROVIDERS[provider]])
        except Exception as error:  # onnxruntime's exceptions share no public base
            raise UserError(f"variant {variant.name} does not load on {provider}: {first_line(error)}") from error
        if self._session.get_providers()[0] != _PROVIDERS[provider]:
            raise UserError(_UNAVAILABLE.format(provider))
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
        if self.provider == "cuda":
            return run_bound(self._session, feeds)
        logits: NDArray[np.float32] = self._session.run(["logits"], feeds)[0]
        return logits


def run_bound(session: onnxruntime.InferenceSession, feeds: Arrays) -> NDArray[np.float32]:
    """Runs one batch with inputs and output bound, so that each is copied to or from the device once."""
    binding = session.io_binding()
    for name, values in feeds.items():
        binding.bind_cpu_input(name, np.ascontiguousarray(values))
    binding.bind_output("logits")
    session.run_with_iobinding(binding)
    logits: NDArray[np.float32] = binding.copy_outputs_to_cpu()[0]
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
    if _PROVIDERS["cuda"] in onnxruntime.get_available_providers():
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
