"""Runs PyTorch and ONNX Runtime over the same texts."""

import time
from collections.abc import Callable, Iterable, Sequence
from itertools import cycle, islice
from pathlib import Path
from statistics import median
from typing import Any, Literal

import numpy as np
import torch
from tokenizers import Encoding
from transformers import PreTrainedModel

from bertwire_data.labelled import present
from bertwire_export.examples import Examples, Logits
from bertwire_runtime.bundle import Provider, Quality, Speed
from bertwire_runtime.layouts import Layout, arrange
from bertwire_runtime.runner import Runner

BATCH_SIZE = 32
# Company that a text's answer must not depend on: the text alone, and among 1, 15 and 63 others.
_COMPANY = (2, 16, 64)
_PROBES = 32
_SPEED_ROUNDS, _SPEED_BATCHES = 3, 4

# Tokens of a batch that is timed on CUDA.
_CUDA_TOKENS = 16384

Track = Callable[[Iterable[Any], str, int], Iterable[Any]]


def torch_logits(
    model: PreTrainedModel, examples: Examples, pad_token_id: int, *, types: bool, title: str, track: Track
) -> Logits:
    """PyTorch's logits that decide, in the order of the examples; batches of one length waste no work on padding."""
    layout = Layout("padded", 0, pad_token_id, by_token=examples.first_pieces is not None)
    order = sorted(range(len(examples.encodings)), key=examples.lengths.__getitem__)
    found: dict[int, Logits] = {}
    batches = _batches(order)
    with torch.inference_mode():
        for batch in track(batches, title, len(batches)):
            arrays = arrange([examples.encodings[index] for index in batch], layout)
            if not types:
                del arrays["token_type_ids"]
            tensors = {name: torch.from_numpy(values) for name, values in arrays.items()}
            logits = model(**tensors).logits.float().numpy()
            found.update(zip(batch, layout.by_text(logits, [examples.lengths[i] for i in batch]), strict=True))
    return examples.decided([found[index] for index in range(len(order))])


def onnx_logits(runner: Runner, examples: Examples, title: str, track: Track) -> Logits:
    """A graph's logits that decide, with the texts in file order."""
    batches = _batches(range(len(examples.encodings)))
    by_text: list[Logits] = []
    for batch in track(batches, title, len(batches)):
        by_text += runner.by_text([examples.encodings[index] for index in batch])
    return examples.decided(by_text)


def quality(examples: Examples, logits: Logits, reference: Logits, thresholds: Sequence[float] | None) -> Quality:
    """Scores of a graph and its distance from PyTorch's logits; both are what `Examples.decided` returns."""
    difference = np.abs(logits - reference)
    return Quality(
        scores=examples.score(logits, thresholds),
        label_agreement=_agreement(examples, logits, reference, thresholds),
        max_logit_difference=float(difference.max()),
        p99_logit_difference=float(np.percentile(difference, 99)),
    )


def _agreement(
    examples: Examples, logits: Logits, reference: Logits, thresholds: Sequence[float] | None
) -> float | None:
    task = examples.labelled.task
    if task == "regression":
        return None
    if task == "multi_label":
        return float((present(logits, thresholds) == present(reference, thresholds)).mean())
    return float((logits.argmax(axis=1) == reference.argmax(axis=1)).mean())


def batch_variance(runner: Runner, texts: Sequence[Encoding]) -> float:
    """Largest difference of any logit of a text alone and in company, short and long.

    32 texts spread over all lengths, shortest and longest among them, are run alone and shuffled into batches of 2, 16
    and 64; the last is filled up with further texts.
    """
    by_length = sorted(range(len(texts)), key=lambda index: len(texts[index].ids))
    spread = [by_length[place] for place in np.linspace(0, len(by_length) - 1, _PROBES).astype(int)]
    alone = {index: runner.by_text([texts[index]])[0] for index in spread}
    generator = np.random.default_rng(0)
    worst = 0.0
    for size in _COMPANY:
        mixed = [int(index) for index in generator.permutation(spread)]
        for start in range(0, _PROBES, size):
            batch = mixed[start : start + size]
            batch += [int(index) for index in generator.choice(by_length, size - len(batch))]
            for index, logits in zip(batch, runner.by_text([texts[index] for index in batch]), strict=True):
                if index in alone:
                    worst = max(worst, float(np.abs(logits - alone[index]).max()))
    return worst


def speeds(
    runners: dict[str, Runner], texts: Sequence[Encoding], provider: Provider, device: str, track: Track
) -> dict[str, Speed]:
    """What a text costs each runner: the runners take turns, and the median round counts.

    Args:
        runners: by name; on the CPU each with one thread.
        texts: in file order; the first 4 batches are run. On CUDA they are repeated until a batch has some 16,384
            tokens: less would measure how long starting its kernels takes.
        provider: where they run.
        device: its name.
        track: shows the progress.
    """
    size = (
        BATCH_SIZE if provider == "cpu" else max(1, _CUDA_TOKENS * len(texts) // sum(len(text.ids) for text in texts))
    )
    some = texts if provider == "cpu" else list(islice(cycle(texts), size * _SPEED_BATCHES))
    chosen = [some[start : start + size] for start in range(0, len(some), size)][:_SPEED_BATCHES]
    arranged = {name: [runner.arrange(batch) for batch in chosen] for name, runner in runners.items()}
    for name, runner in runners.items():
        runner.run(arranged[name][0])
    rounds: dict[str, list[tuple[float, float]]] = {name: [] for name in runners}
    turns = [name for _ in range(_SPEED_ROUNDS) for name in runners]
    for name in track(turns, f"Speed on {provider}", len(turns)):
        cpu, wall = time.thread_time(), time.perf_counter()
        for arrays in arranged[name]:
            runners[name].run(arrays)
        rounds[name].append((time.thread_time() - cpu, time.perf_counter() - wall))
    count = sum(map(len, chosen))

    def per_text(name: str, kind: Literal[0, 1]) -> float:
        return max(1e3 * median(each[kind] for each in rounds[name]) / count, 1e-6)

    return {
        name: Speed(
            cpu_ms_per_text=per_text(name, 0) if provider == "cpu" else None,
            ms_per_text=per_text(name, 1),
            batch_size=size,
            device=device,
        )
        for name in runners
    }


def cpu_name() -> str:
    """The processor's name as Linux gives it."""
    lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), "unknown")


def cuda_name() -> str:
    """The first CUDA device's name as torch gives it."""
    return torch.cuda.get_device_name(0) if torch.cuda.is_available() else "unknown CUDA device"


def _batches(order: Sequence[int]) -> list[Sequence[int]]:
    return [order[start : start + BATCH_SIZE] for start in range(0, len(order), BATCH_SIZE)]
