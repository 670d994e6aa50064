"""Prove every candidate on every provider that it is meant for."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from bertwire_core.errors import UserError, first_line
from bertwire_export.apart import Result, run_apart
from bertwire_export.baseline import Baseline
from bertwire_export.candidates import Built
from bertwire_export.config import Precision
from bertwire_export.examples import Logits
from bertwire_export.gate import abstain_faults, faults, rare_faults, text_faults
from bertwire_export.measure import batch_variance, cpu_name, cuda_name, speeds
from bertwire_runtime.bundle import GateLimits, Proof, Provider, Quality, Speed
from bertwire_runtime.runner import Runner
from bertwire_runtime.session import PROVIDERS


@dataclass(frozen=True)
class Proven:
    """A candidate with its proofs.

    Attributes:
        built: the graph.
        proofs: one for each provider that it ran on.
        logits: its logits on dev, on the first of these providers, as `Examples.decided` returns them.
    """

    built: Built
    proofs: tuple[Proof, ...]
    logits: Logits


def prove(
    built: Sequence[Built],
    reference: Baseline,
    providers: Sequence[Provider],
    limits: Callable[[Precision], GateLimits],
) -> tuple[list[Proven], list[str]]:
    """Measure quality on dev, batch variance and speed, and find the limits that each candidate breaks.

    On CUDA each has a process of its own: it may not run, since not every card and release has every kernel.

    Args:
        built: the candidates.
        reference: the rows, with PyTorch's logits.
        providers: those of this machine.
        limits: returns the limits of a precision.

    Returns:
        The candidates that ran on some provider, and for each that did not run on one why.
    """
    proofs: dict[str, list[Proof]] = {each.name: [] for each in built}
    logits: dict[str, Logits] = {}
    failures: list[str] = []

    def keep(each: Built, found: Logits, proof: Proof) -> None:
        logits.setdefault(each.name, found)
        proofs[each.name].append(proof)

    on_cpu, on_cuda = ([each for each in built if at in each.providers and at in providers] for at in PROVIDERS)
    costs = _speeds(on_cpu, reference, "cpu") if on_cpu else {}
    for each in on_cpu:
        keep(each, *_proof(each, reference, "cpu", costs[each.name], limits(each.precision)))
    for each in on_cuda:
        try:
            keep(each, *_apart(_trial, each, reference, limits(each.precision)))
        except UserError as error:
            failures.append(str(error))
    return [Proven(each, tuple(proofs[each.name]), logits[each.name]) for each in built if proofs[each.name]], failures


def _trial(built: Built, reference: Baseline, limits: GateLimits) -> tuple[Logits, Proof]:
    """Prove one candidate on CUDA."""
    speed = _speeds([built], reference, "cuda")[built.name]
    return _proof(built, reference, "cuda", speed, limits)


def prove_on_test(proven: Proven, reference: Baseline) -> Proven:
    """Add the candidate's quality on the test rows, if there are any; they do not decide what is published."""
    if "test" not in reference.splits:
        return proven
    proofs = []
    for proof in proven.proofs:
        on_cuda = proof.provider == "cuda"
        found = _apart(_on_test, proven.built, reference) if on_cuda else _on_test(proven.built, reference, "cpu")
        proofs.append(proof.model_copy(update={"test": found}))
    return replace(proven, proofs=tuple(proofs))


def _apart(function: Callable[..., Result], built: Built, *arguments: object) -> Result:
    """Call a function in a process of its own, since a process in which CUDA has failed can use it no more."""
    try:
        return run_apart(function, built, *arguments)
    except UserError as error:
        raise UserError(f"{built.name} does not run on CUDA: {error}") from error


def _on_test(built: Built, reference: Baseline, provider: Provider = "cuda") -> Quality:
    return reference.compare(_open(built, provider, threads=0), f"{built.name} on test", "test")[1]


def _speeds(running: Sequence[Built], reference: Baseline, provider: Provider) -> dict[str, Speed]:
    runners = {each.name: _open(each, provider, threads=1) for each in running}
    device = cpu_name() if provider == "cpu" else cuda_name()
    return speeds(runners, reference.chunks, provider, device)


def _proof(
    built: Built, reference: Baseline, provider: Provider, speed: Speed, limits: GateLimits
) -> tuple[Logits, Proof]:
    runner = _open(built, provider, threads=0)
    logits, dev = reference.compare(runner, f"{built.name} on dev", "dev")
    variance = batch_variance(runner, reference.encodings)
    texts = None
    if reference.unlabelled is not None:
        thresholds = reference.calibration.thresholds or None
        texts = reference.unlabelled.agreement(runner, f"{built.name} on --texts", thresholds)
    found = (
        *faults(reference.task, dev, variance, reference.scores.dev, limits),
        *(() if texts is None else text_faults(texts, limits)),
        *abstain_faults(dev.abstain_agreement, reference.splits["dev"].texts, limits),
        *rare_faults(reference.task, reference.rare.difference(runner), limits),
    )
    proof = Proof(
        provider=provider,
        dev=dev,
        test=None,
        texts=texts,
        batch_variance=variance,
        speed=speed,
        limits=limits,
        faults=found,
    )
    return logits, proof


def _open(built: Built, provider: Provider, threads: int) -> Runner:
    try:
        return Runner(built.path, built.layout, provider, threads)
    except Exception as error:  # onnxruntime's exceptions share no public base
        if provider == "cuda":
            raise
        raise UserError(
            f"ONNX Runtime cannot run {built.name} on {provider}: {first_line(error)}; leave its precision out "
            "with --variants"
        ) from error
