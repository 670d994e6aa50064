"""Choice of the variant and provider that pass the probe on this machine."""

import logging
import re
from collections.abc import Iterator, Sequence
from typing import Literal

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from bertwire_core.errors import UserError, first_line
from bertwire_runtime.bundle import Bundle, BundleError, Provider, Variant
from bertwire_runtime.bundle.graph import require_self_contained
from bertwire_runtime.layouts import Tokens, variant_layout
from bertwire_runtime.probe import Checked, Probe, read_probe, run_probe
from bertwire_runtime.runner import Runner
from bertwire_runtime.session import PROVIDERS, cuda_fault

_ADVICE = "serve it on the kind of machine that it was proven on, or export it again"
_log = logging.getLogger(__name__)


class DoesNotLoad(UserError):
    """ONNX Runtime cannot open a variant's graph on this machine."""


class Engine:
    """A variant of a bundle on a provider.

    Attributes:
        proven: whether it passed the bundle's probe on this machine; False before the check, and without a probe.
        passed_over: why better variants are not used, one line; empty where this is the best.
    """

    def __init__(self, bundle: Bundle, variant: Variant, provider: Literal["cpu", "cuda"], threads: int) -> None:
        """Load the graph from verified bytes.

        Raises:
            BundleError: the graph differs from what was sealed, or has weights in another file.
            UserError: the session does not start on the requested provider.
        """
        graph = bundle.read(variant.file)
        try:
            require_self_contained(graph)
        except ValueError as error:
            raise BundleError(f"{bundle.path}: {variant.file.name} {error}; export it again") from error
        try:
            self._runner = Runner(graph, variant_layout(bundle.manifest, variant), provider, threads)
        except Exception as error:  # onnxruntime's exceptions share no public base
            reason = f"variant {variant.name} does not load on {provider}: {_cause(error)}"
            raise DoesNotLoad(f"{reason} (ONNX Runtime {onnxruntime.__version__})") from error
        if bundle.manifest.abstention is not None and not self._runner.gives_vectors:
            raise BundleError(f"{bundle.path}: {variant.file.name} gives no vectors to abstain by; export it again")
        self.variant, self.provider, self.layout = variant, provider, self._runner.layout
        self.proven, self.passed_over = False, ""

    def close(self) -> None:
        """Free the session and its memory; call nothing afterwards."""
        self._runner.close()

    def check(self, probe: Probe) -> Checked:
        """Run the bundle's probe; raise `BundleError` where it lacks this variant."""
        return run_probe(probe, self.variant, self.provider, self.by_text)

    def by_text(self, texts: Sequence[Tokens]) -> list[NDArray[np.float32]]:
        """Run one batch and return each text's logits, float32 [labels] or [tokens, labels].

        Of a model that gives a vector too it follows the logits: float32 [labels + dimensions].
        """
        return self._runner.by_text(texts)


def choose_engine(
    bundle: Bundle, variant: str | None, provider: Literal["auto", "cpu", "cuda"], threads: int
) -> Engine:
    """Load the requested variant, or the provider's best one, that passes the probe on this machine.

    Raises:
        UserError: the bundle has no such variant, or none for the provider, or the provider is unavailable.
        BundleError: no candidate loads and passes the probe.
    """
    probe = read_probe(bundle)
    faults: list[str] = []
    for chosen, where in _candidates(bundle, variant, provider):
        try:
            engine = Engine(bundle, chosen, where, threads)
        except DoesNotLoad as error:
            faults.append(str(error))
            continue
        fault = None if probe is None else engine.check(probe).fault
        if fault is None:
            engine.proven, engine.passed_over = probe is not None, "; ".join(faults)
            if faults:
                name = f"{bundle.manifest.name} version {bundle.manifest.version}"
                _log.error("%s: %s; serving %s instead", name, engine.passed_over, engine.variant.name)
            return engine
        engine.close()
        faults.append(fault)
    raise BundleError(f"{bundle.path}: {'; '.join(faults)}; {_ADVICE}")


def _candidates(
    bundle: Bundle, variant: str | None, provider: Literal["auto", "cpu", "cuda"]
) -> Iterator[tuple[Variant, Provider]]:
    """Yield the eligible variants with their providers, best first."""
    if provider == "auto" and PROVIDERS["cuda"] in onnxruntime.get_available_providers():
        try:
            yield from _on(bundle, variant, "cuda")
        except UserError as error:
            _log.warning("not on CUDA: %s", error)
    yield from _on(bundle, variant, "cpu" if provider == "auto" else provider)


def _on(bundle: Bundle, variant: str | None, provider: Provider) -> list[tuple[Variant, Provider]]:
    """Return the eligible variants on a provider; raise `UserError` where there is none, or the provider fails."""
    fitting = _variants(bundle, variant, provider)
    if provider == "cuda" and (fault := cuda_fault()):
        raise UserError(fault)
    return [(each, provider) for each in fitting]


def _variants(bundle: Bundle, name: str | None, provider: Provider) -> list[Variant]:
    variants = bundle.manifest.variants
    named = [each for each in variants if name in (None, each.name, each.precision)]
    fitting = [each for each in named if provider in each.providers]
    if not fitting:
        known = ", ".join(f"{each.name} ({'/'.join(each.providers)})" for each in variants)
        asked = "variant" if name is None else f"variant {name}"
        raise UserError(f"the bundle has no {asked} for {provider}; it has {known}")
    return fitting


def _cause(error: Exception) -> str:
    """Return the first line of ONNX Runtime's error without error code, source location and C++."""
    line = re.sub(r"^\[ONNXRuntimeError\] : \d+ : \w+ : ", "", first_line(error))
    return re.sub(r"/\S+\.(?:cc|h):\d+ .*?\) (?=[A-Z])", "", line)
