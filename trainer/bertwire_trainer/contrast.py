"""Contrastive fine-tuning: the cosine of two texts' vectors becomes the similarity of their labels."""

from collections.abc import Iterator
from itertools import islice
from math import ceil
from typing import TYPE_CHECKING

import numpy
import torch
from transformers import get_linear_schedule_with_warmup

from bertwire_core.console import progress
from bertwire_trainer.method import Job
from bertwire_trainer.predict import collator
from bertwire_trainer.tasks import SPECS

if TYPE_CHECKING:
    from bertwire_core.pooled import PooledClassifier

# Share of the steps over which the rate rises from 0; halved, the first steps are twice as steep.
WARMUP = 0.1
# The norm that gradients are cut to; halved, nothing breaks.
MAX_NORM = 1.0
# Steps that the shown loss is about the mean of; halved, it jumps.
_SHOWN_STEPS = 10

# A text, another text, and the similarity of their labels.
Pair = tuple[int, int, float]


def contrast(job: Job, model: "PooledClassifier", iterations: int, batch_size: int, learning_rate: float) -> None:
    """Train what a model's head reads, in place, by the mean squared error of cosines; show a bar.

    Args:
        job: the texts of train, their labels, the precision and the seed.
        model: the model, on the device to train on.
        iterations: for each text so many pairs with a similar one, and as many with a dissimilar one.
        batch_size: texts of the pairs of one step.
        learning_rate: peak rate of AdamW.
    """
    size, device = batch_size // 2, model.device
    steps = ceil(2 * iterations * len(job.data.train) / size)
    optimizer = torch.optim.AdamW(model.parameters(), learning_rate, weight_decay=0.0, fused=True)
    schedule = get_linear_schedule_with_warmup(optimizer, ceil(WARMUP * steps), steps)
    scaler = torch.amp.GradScaler(device.type, enabled=job.precision == "fp16")
    lower = torch.float16 if job.precision == "fp16" else torch.bfloat16
    encode = torch.compile(model.encode) if job.compile else model.encode
    pairs, shown = _pairs(job, iterations), 0.0
    model.train()
    with progress("contrast", steps) as bar:
        for step in range(1, steps + 1):
            drawn = list(islice(pairs, size))
            tokens, one, other = _sides(job, drawn, device)
            wanted = torch.tensor([similarity for *_, similarity in drawn], device=device)
            with torch.autocast(device.type, lower, enabled=job.precision != "fp32"):
                vectors = model.read(encode(**tokens), tokens["attention_mask"])
                loss = (torch.cosine_similarity(vectors[one], vectors[other]) - wanted).square().mean()
            scaler.scale(loss).backward()
            scaler.unscale_(optimizer)
            torch.nn.utils.clip_grad_norm_(model.parameters(), MAX_NORM)
            scaler.step(optimizer)
            scaler.update()
            optimizer.zero_grad()
            shown += (loss.item() - shown) / min(step, _SHOWN_STEPS)
            bar(step, f"loss {shown:.4f}, rate {schedule.get_last_lr()[0]:.1e}")
            schedule.step()


def _pairs(job: Job, iterations: int) -> Iterator[Pair]:
    """Yield for each text, in a new order each iteration, a pair with a similar one and a pair with a dissimilar one.

    A text that no other is similar to is paired with itself. Where every text is similar, the least similar count as
    dissimilar. Pairs are drawn one by one, so that memory does not grow with their number.
    """
    targets, similarity = job.data.targets["train"], SPECS[job.data.task].similarity
    assert similarity is not None  # noqa: S101 - the tasks of the method have one
    draw = numpy.random.default_rng(job.seed)
    for _ in range(iterations):
        for text in draw.permutation(len(targets)):
            similar = similarity(targets, targets[text])
            near, far = numpy.flatnonzero(similar > 0), numpy.flatnonzero(similar == similar.min())
            others = near[near != text]
            for partners in (others if len(others) else near, far):
                partner = int(draw.choice(partners))
                yield int(text), partner, float(similar[partner])


def _sides(
    job: Job, pairs: list[Pair], device: torch.device
) -> tuple[dict[str, torch.Tensor], torch.Tensor, torch.Tensor]:
    """Return the padded tokens of the distinct texts of each side, and the places of the pairs' two, int64 [pairs].

    Each side is encoded apart, so that dropout makes two vectors of a text that is paired with itself. Distinct texts
    are 3 in 4 at most: each text comes with a similar and a dissimilar one.
    """
    left, ones = numpy.unique([text for text, *_ in pairs], return_inverse=True)
    right, others = numpy.unique([text for _, text, _ in pairs], return_inverse=True)
    train = job.tokens["train"]
    tokens = collator(job.tokenizer, train)([train[text] for text in (*left, *right)])
    del tokens["labels"]
    one, other = (torch.from_numpy(places).to(device) for places in (ones, len(left) + others))
    return {name: each.to(device) for name, each in tokens.items()}, one, other
