"""Runs PyTorch and ONNX Runtime over the same batches of real texts."""

import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import torch
from numpy.typing import NDArray
from sklearn.metrics import accuracy_score, f1_score
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from bertwire_export.bundle import Quality, Scores, Speed

BATCH_SIZE = 32

Arrays = dict[str, NDArray[np.int64]]
Logits = NDArray[np.float32]
Track = Callable[[Iterable[Any], str, int], Iterable[Any]]


def make_batches(
    texts: list[str], tokenizer: PreTrainedTokenizerBase, inputs: list[str], max_length: int, side: str
) -> list[Arrays]:
    """Tokenizes `texts` in file order into batches of `BATCH_SIZE`, each padded on the right to its longest text.

    Returns:
        For each batch its inputs, int64 [texts, tokens].
    """
    tokenizer.truncation_side, tokenizer.padding_side = side, "right"
    batches = []
    for start in range(0, len(texts), BATCH_SIZE):
        batch = texts[start : start + BATCH_SIZE]
        encoded = tokenizer(
            batch, truncation=True, max_length=max_length, padding=True, return_token_type_ids=True, return_tensors="np"
        )
        batches.append({name: encoded[name].astype(np.int64) for name in inputs})
    return batches


def torch_logits(model: PreTrainedModel, batches: list[Arrays], track: Track) -> Logits:
    """PyTorch's logits, float32 [texts, labels]."""
    logits = []
    with torch.inference_mode():
        for batch in track(batches, "PyTorch", len(batches)):
            tensors = {name: torch.from_numpy(values) for name, values in batch.items()}
            logits.append(model(**tensors).logits.float().numpy())
    return np.concatenate(logits)


def onnx_logits(path: Path, batches: list[Arrays], track: Track) -> Logits:
    """A graph's logits on the CPU, float32 [texts, labels]."""
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    logits = [session.run(["logits"], batch)[0] for batch in track(batches, path.stem, len(batches))]
    return np.concatenate(logits)


def cpu_cost(path: Path, batches: list[Arrays], track: Track) -> Speed:
    """CPU time a text with one thread, over at most the first 16 batches, after one that warms up."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    chosen = batches[:16]
    session.run(["logits"], chosen[0])
    seconds = 0.0
    for batch in track(chosen, f"{path.stem}, one thread", len(chosen)):
        start = time.thread_time()
        session.run(["logits"], batch)
        seconds += time.thread_time() - start
    texts = sum(len(batch["input_ids"]) for batch in chosen)
    return Speed(cpu_ms_per_text=max(1e3 * seconds / texts, 1e-6), batch_size=BATCH_SIZE, cpu=cpu_name())


def scores(logits: Logits, labels: list[int]) -> Scores:
    """Accuracy and macro-F1 of the best label against the true ones."""
    best = logits.argmax(axis=1)
    macro_f1 = f1_score(labels, best, average="macro", zero_division=0)
    return Scores(accuracy=float(accuracy_score(labels, best)), macro_f1=float(macro_f1))


def quality(logits: Logits, reference: Logits, labels: list[int]) -> Quality:
    """Scores of a variant and its distance from the reference's logits; all [texts, labels]."""
    agreement = float((logits.argmax(axis=1) == reference.argmax(axis=1)).mean())
    difference = float(np.abs(logits - reference).max())
    return Quality(**scores(logits, labels).model_dump(), label_agreement=agreement, max_logit_difference=difference)


def cpu_name() -> str:
    """The processor's name as Linux gives it."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), "unknown")
