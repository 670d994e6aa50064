"""Measure logits, quality, batch variance and speed of PyTorch and of graphs on the same texts."""

import time
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from itertools import cycle
from pathlib import Path
from statistics import median
from typing import Literal

import numpy as np
import torch
from tokenizers import Encoding

from bertwire_core.console import tracked
from bertwire_core.errors import UserError
from bertwire_core.scope import scopes
from bertwire_export.checkpoint import Checkpoint
from bertwire_export.examples import Examples, Logits
from bertwire_export.tasks import TASK_EXPORTS
from bertwire_export.torch_run import torch_by_text
from bertwire_runtime.bundle import Abstention, Provider, Quality, Speed
from bertwire_runtime.runner import Runner

# Texts a batch. With half as many every run starts twice as often.
BATCH_SIZE = 32
# Texts a batch in which a text's logits are compared with those of the text alone.
_VARIANCE_BATCHES = (2, 16, 64)
# Texts compared for the batch variance; with half as many only half of the lengths are.
_VARIANCE_TEXTS = 32
# Rounds of which the median counts, and batches a round. With fewer, other work on the machine shows in the median.
_SPEED_ROUNDS, _SPEED_BATCHES = 3, 4
# Tokens of a batch that is timed on CUDA; with many fewer the start of its kernels would be timed.
_CUDA_TOKENS = 16384


def torch_logits(checkpoint: Checkpoint, examples: Examples, title: str) -> Logits:
    """Return PyTorch's logits as `Examples.decided` does; batches of one length waste no work on padding."""
    return examples.decided(torch_each(checkpoint, examples.encodings, title))


def onnx_logits(runner: Runner, examples: Examples, title: str) -> Logits:
    """Return a graph's logits as `Examples.decided` does, computed in batches in file order."""
    return examples.decided(onnx_each(runner, examples.encodings, title))


def torch_each(checkpoint: Checkpoint, texts: Sequence[Encoding], title: str) -> list[Logits]:
    """Return PyTorch's logits of each text: float32 [labels], or [tokens, labels]."""
    return _each(partial(torch_by_text, checkpoint), texts, title, by_length=True)


def onnx_each(runner: Runner, texts: Sequence[Encoding], title: str) -> list[Logits]:
    """Return a graph's logits of each text, float32 [labels] or [tokens, labels], computed in batches in file order."""
    return _each(runner.by_text, texts, title, by_length=False)


def finite(logits: Logits, title: str) -> Logits:
    """Return what a graph or PyTorch gave; raise `UserError` where a number is not finite."""
    if not np.isfinite(logits).all():
        raise UserError(f"{title}: the logits are not all finite numbers; leave its precision out with --variants")
    return logits


def _each(
    run: Callable[[list[Encoding]], list[Logits]], encodings: Sequence[Encoding], title: str, *, by_length: bool
) -> list[Logits]:
    order = list(range(len(encodings)))
    if by_length:
        order.sort(key=lambda index: len(encodings[index].ids))
    batches = [order[start : start + BATCH_SIZE] for start in range(0, len(order), BATCH_SIZE)]
    found: dict[int, Logits] = {}
    for batch in tracked(batches, title, len(batches)):
        found.update(zip(batch, run([encodings[index] for index in batch]), strict=True))
    return [found[index] for index in range(len(encodings))]


def quality(
    examples: Examples,
    logits: Logits,
    reference: Logits,
    thresholds: Sequence[float] | None,
    abstention: Abstention | None = None,
) -> Quality:
    """Return a graph's scores and distance from PyTorch's logits; both logits are what `Examples.decided` returns."""
    difference = np.abs(logits - reference)
    ours, theirs = (None if abstention is None else scopes(each) < abstention.threshold for each in (logits, reference))
    return Quality(
        scores=examples.score(logits, thresholds),
        label_agreement=_agreement(examples, logits, reference, thresholds),
        abstained=None if ours is None else float(ours.mean()),
        abstain_agreement=None if ours is None else float((ours == theirs).mean()),
        max_logit_difference=float(difference.max()),
        p99_logit_difference=float(np.percentile(difference, 99)),
    )


def _agreement(
    examples: Examples, logits: Logits, reference: Logits, thresholds: Sequence[float] | None
) -> float | None:
    task = TASK_EXPORTS[examples.labelled.task]
    ours, theirs = task.decide(logits, thresholds), task.decide(reference, thresholds)
    return None if ours is None or theirs is None else float((ours == theirs).mean())


def batch_variance(runner: Runner, texts: Sequence[Encoding]) -> float:
    """Return the largest absolute difference of any logit of a text alone and with other texts in the batch.

    32 texts spread over all lengths, shortest and longest among them, are run alone and shuffled into batches of 2, 16
    and 64; the last is filled up with further texts.
    """
    by_length = sorted(range(len(texts)), key=lambda index: len(texts[index].ids))
    spread = [by_length[place] for place in np.linspace(0, len(by_length) - 1, _VARIANCE_TEXTS).astype(int)]
    alone = {index: runner.by_text([texts[index]])[0] for index in spread}
    generator = np.random.default_rng(0)
    worst = 0.0
    for size in _VARIANCE_BATCHES:
        mixed = [int(index) for index in generator.permutation(spread)]
        for start in range(0, _VARIANCE_TEXTS, size):
            batch = mixed[start : start + size]
            batch += [int(index) for index in generator.choice(by_length, size - len(batch))]
            for index, logits in zip(batch, runner.by_text([texts[index] for index in batch]), strict=True):
                if index in alone:
                    worst = max(worst, float(np.abs(logits - alone[index]).max()))
    return worst


def speeds(
    runners: dict[str, Runner], texts: Sequence[Sequence[Encoding]], provider: Provider, device: str
) -> dict[str, Speed]:
    """Measure what a text costs each runner, with all of its chunks: they take turns, and the median round counts.

    Args:
        runners: the runners by name; on the CPU each with one thread.
        texts: the chunks of each text, in file order; those of the first 4 batches of chunks are run. On CUDA they are
            repeated until a batch has some 16,384 tokens: less would measure how long starting its kernels takes.
        provider: the provider that they run on.
        device: its name.
    """
    lengths = [len(chunk.ids) for text in texts for chunk in text]
    size = BATCH_SIZE if provider == "cpu" else max(1, _CUDA_TOKENS * len(lengths) // sum(lengths))
    timed = _first(texts if provider == "cpu" else cycle(texts), size * _SPEED_BATCHES)
    chunks = [chunk for text in timed for chunk in text]
    chosen = [chunks[start : start + size] for start in range(0, len(chunks), size)]
    arranged = {name: [runner.arrange(batch) for batch in chosen] for name, runner in runners.items()}
    for name, runner in runners.items():
        runner.run(arranged[name][0])
    rounds: dict[str, list[tuple[float, float]]] = {name: [] for name in runners}
    turns = [name for _ in range(_SPEED_ROUNDS) for name in runners]
    for name in tracked(turns, f"Speed on {provider}", len(turns)):
        cpu, wall = time.thread_time(), time.perf_counter()
        for arrays in arranged[name]:
            runners[name].run(arrays)
        rounds[name].append((time.thread_time() - cpu, time.perf_counter() - wall))

    def per_text(name: str, kind: Literal[0, 1]) -> float:
        return max(1e3 * median(each[kind] for each in rounds[name]) / len(timed), 1e-6)

    return {
        name: Speed(
            cpu_ms_per_text=per_text(name, 0) if provider == "cpu" else None,
            ms_per_text=per_text(name, 1),
            batch_size=size,
            device=device,
        )
        for name in runners
    }


def _first(texts: Iterable[Sequence[Encoding]], most: int) -> list[Sequence[Encoding]]:
    """Return the first texts that have at most `most` chunks together, but one text at least."""
    found, chunks = list[Sequence[Encoding]](), 0
    for text in texts:
        chunks += len(text)
        if found and chunks > most:
            break
        found.append(text)
    return found


def cpu_name() -> str:
    """Return the processor's name as Linux gives it."""
    lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), "unknown")


def cuda_name() -> str:
    """Return the first CUDA device's name as torch gives it."""
    return torch.cuda.get_device_name(0) if torch.cuda.is_available() else "unknown CUDA device"
