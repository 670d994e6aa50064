"""Measures every candidate on every provider that it is meant for."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from bertwire_client.console import tracked
from bertwire_client.errors import UserError, first_line
from bertwire_export.bundle import Limits, Proof, Provider, Speed
from bertwire_export.candidates import Built
from bertwire_export.config import Precision
from bertwire_export.examples import Logits
from bertwire_export.gate import faults, rare_faults
from bertwire_export.measure import (
    Runner,
    batch_variance,
    cpu_name,
    cuda_name,
    onnx_logits,
    quality,
    speeds,
)
from bertwire_export.truth import Truth


@dataclass(frozen=True)
class Proven:
    """A candidate with what was measured of it.

    Attributes:
        built: the graph.
        proofs: one for each provider that it ran on.
        logits: on dev, on the first of these providers.
    """

    built: Built
    proofs: tuple[Proof, ...]
    logits: Logits


def prove(
    built: Sequence[Built], truth: Truth, providers: Sequence[Provider], limits: Callable[[Precision], Limits]
) -> tuple[list[Proven], list[str]]:
    """Measures quality on dev, batch variance and speed, and finds the limits that a candidate breaks.

    On CUDA a candidate may not run, since not every card and release has every kernel.

    Args:
        built: the candidates.
        truth: the rows, with PyTorch's logits.
        providers: those of this machine.
        limits: what a precision has to keep.

    Returns:
        The candidates that ran on some provider, and for each that did not run on one why.
    """
    proofs: dict[str, list[Proof]] = {each.name: [] for each in built}
    logits: dict[str, Logits] = {}
    failures: list[str] = []
    for provider in providers:
        running = [each for each in built if provider in each.providers]
        if provider == "cuda":
            running, failed = _runnable(running, truth)
            failures += failed
        costs = _speeds(running, truth, provider)
        for each in running:
            found, proof = _proof(each, truth, provider, costs[each.name], limits(each.precision))
            logits.setdefault(each.name, found)
            proofs[each.name].append(proof)
    return [Proven(each, tuple(proofs[each.name]), logits[each.name]) for each in built if proofs[each.name]], failures


def _runnable(built: Sequence[Built], truth: Truth) -> tuple[list[Built], list[str]]:
    """Those that run a batch on CUDA, and for each other the reason."""
    running, failures = [], []
    for each in built:
        try:
            Runner(each.path, each.layout, "cuda", threads=1).by_text(truth.dev.examples.encodings[:2])
        except Exception as error:  # onnxruntime's exceptions share no public base
            failures.append(f"{each.name} does not run on CUDA: {first_line(error)}")
        else:
            running.append(each)
    return running, failures


def prove_on_test(proven: Proven, truth: Truth) -> Proven:
    """Adds what the candidate scores on the test rows, if there are any: they choose nothing."""
    if truth.test is None:
        return proven
    proofs = []
    for proof in proven.proofs:
        runner = _open(proven.built, proof.provider, threads=0)
        logits = onnx_logits(runner, truth.test.examples, f"{proven.built.name} on test", tracked)
        found = quality(truth.test.examples, logits, truth.test.logits, truth.calibration.thresholds or None)
        proofs.append(proof.model_copy(update={"test": found}))
    return replace(proven, proofs=tuple(proofs))


def _speeds(running: Sequence[Built], truth: Truth, provider: Provider) -> dict[str, Speed]:
    runners = {each.name: _open(each, provider, threads=1) for each in running}
    device = cpu_name() if provider == "cpu" else cuda_name()
    return speeds(runners, truth.dev.examples.encodings, provider, device, tracked)


def _proof(built: Built, truth: Truth, provider: Provider, speed: Speed, limits: Limits) -> tuple[Logits, Proof]:
    runner = _open(built, provider, threads=0)
    logits = onnx_logits(runner, truth.dev.examples, f"{built.name} on dev", tracked)
    dev = quality(truth.dev.examples, logits, truth.dev.logits, truth.calibration.thresholds or None)
    variance = batch_variance(runner, truth.dev.examples.encodings)
    found = (
        *faults(dev, variance, truth.reference.dev, limits),
        *rare_faults(truth.rare.difference(runner), limits),
    )
    proof = Proof(
        provider=provider, dev=dev, test=None, batch_variance=variance, speed=speed, limits=limits, faults=found
    )
    return logits, proof


def _open(built: Built, provider: Provider, threads: int) -> Runner:
    try:
        return Runner(built.path, built.layout, provider, threads)
    except Exception as error:  # onnxruntime's exceptions share no public base
        raise UserError(
            f"ONNX Runtime cannot run {built.name} on {provider}: {first_line(error)}; leave its precision out "
            "with --variants"
        ) from error
