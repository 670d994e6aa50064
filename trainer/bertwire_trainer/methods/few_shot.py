"""Few-shot: contrastive fine-tuning of the encoder on pairs of labelled texts, then a linear layer on its vectors.

The method of Tunstall et al. 2022, "Efficient Few-Shot Learning Without Prompts" (SetFit), without its library.
"""

from collections.abc import Iterator
from itertools import islice
from math import ceil
from typing import TYPE_CHECKING, Any

from pydantic import Field

from bertwire_core.errors import UserError
from bertwire_core.pooling import Pooling
from bertwire_core.tasks import TASKS
from bertwire_trainer.method import Fitted, Job
from bertwire_trainer.methods.frozen import FrozenOptions
from bertwire_trainer.tasks import SPECS

if TYPE_CHECKING:
    import torch

    from bertwire_core.pooled import PooledClassifier

# Texts of train for each label from which the note about other methods is printed. Halved, it is printed where pairs
# still do better than the other methods.
_MANY = 200
# Share of the steps over which the rate rises from 0, and the norm that gradients are cut to. At half of the first the
# first steps are twice as steep; at half of the second nothing breaks.
_WARMUP, _NORM = 0.1, 1.0

# A text, another text, and the similarity of their labels.
Pair = tuple[int, int, float]


class FewShotOptions(FrozenOptions):
    """How many pairs, in which steps, and how the linear layer is fitted."""

    num_iterations: int = Field(
        20, ge=1, description="Pairs with a text of the same label, and as many with another's, for each text of train."
    )
    batch_size: int = Field(32, ge=2, description="Texts of the pairs of one step; equal ones are encoded once.")
    learning_rate: float = Field(1e-4, gt=0, description="Peak learning rate of AdamW; it decays linearly to 0.")

    def recorded(self) -> dict[str, Any]:
        """Return the options and what contrastive fine-tuning does without one."""
        fixed = {"optimizer": "adamw", "schedule": "linear", "warmup_ratio": _WARMUP, "max_grad_norm": _NORM}
        return super().recorded() | fixed


class FewShot:
    """Bring texts with a label in common together and others apart, then fit the head: for 4 to 64 texts a label."""

    Options = FewShotOptions
    tasks = frozenset(task for task in TASKS if SPECS[task].similarity)
    pooling: Pooling | None = Pooling("mean", normalize=True)

    def fit(self, job: Job, options: FewShotOptions) -> Fitted:
        """Train the encoder on pairs and fit the layer on what it gives; after an interruption, from the start."""
        import torch
        from transformers import set_seed

        from bertwire_trainer.linear import fit_head
        from bertwire_trainer.messages import note
        from bertwire_trainer.predict import embed

        model: PooledClassifier = job.model  # type: ignore[assignment]  # a method with a pooling gets this one
        if len(job.data.train) > _MANY * len(job.data.labels):
            note(f"few-shot: over {_MANY} texts a label; --method full or frozen will do better")
        # A run that starts again draws the same dropout, whatever a stage before it has drawn.
        set_seed(job.seed)
        model.to("cuda" if torch.cuda.is_available() else "cpu")
        _contrast(job, model, options)
        (vectors,) = embed(model, job.tokenizer, job.tokens["train"], "embed train")
        if not torch.from_numpy(vectors).isfinite().all():
            raise UserError("few-shot diverged: vectors are not finite; lower --learning-rate or use fp32")
        fit_head(model.to("cpu"), vectors, job.data, job.seed, options.strength)
        return Fitted(model, job.tokenizer, None)


def _contrast(job: Job, model: "PooledClassifier", options: FewShotOptions) -> None:
    """Train the encoder in place to give pairs the cosine that is the similarity of their labels; show a bar."""
    import torch
    from transformers import get_linear_schedule_with_warmup

    from bertwire_core.console import progress

    size, kind = options.batch_size // 2, model.device.type
    steps = ceil(2 * options.num_iterations * len(job.data.train) / size)
    optimizer = torch.optim.AdamW(model.parameters(), options.learning_rate, weight_decay=0.0, fused=True)
    schedule = get_linear_schedule_with_warmup(optimizer, ceil(_WARMUP * steps), steps)
    scaler = torch.amp.GradScaler(kind, enabled=job.precision == "fp16")
    lower = torch.autocast(kind, torch.float16 if scaler.is_enabled() else torch.bfloat16, job.precision != "fp32")
    encode = torch.compile(model.encode) if job.compile else model.encode
    pairs = _pairs(job, options.num_iterations)
    mean = 0.0
    model.train()
    with progress("contrast", steps) as bar:
        for step in range(1, steps + 1):
            drawn = list(islice(pairs, size))
            tokens, (one, other) = _sides(job, drawn, model.device)
            wanted = torch.tensor([similar for *_, similar in drawn], device=model.device)
            with lower:
                vectors = model.read(encode(**tokens), tokens["attention_mask"])
                loss = (torch.cosine_similarity(vectors[one], vectors[other]) - wanted).square().mean()
            scaler.scale(loss).backward()  # type: ignore[no-untyped-call]
            scaler.unscale_(optimizer)
            torch.nn.utils.clip_grad_norm_(model.parameters(), _NORM)
            scaler.step(optimizer)
            scaler.update()
            optimizer.zero_grad()
            rate = schedule.get_last_lr()[0]
            schedule.step()
            # Over about the last ten steps.
            mean += (loss.item() - mean) / min(step, 10)
            bar(step, f"loss {mean:.4f}, rate {rate:.1e}")


def _pairs(job: Job, iterations: int) -> Iterator[Pair]:
    """Yield for each text, in a new order each iteration, a pair with a similar one and a pair with a dissimilar one.

    A text that no other is similar to is paired with itself, which dropout makes two of. Pairs are drawn one by one, so
    that memory does not grow with their number.
    """
    import numpy

    targets, similarity = job.data.targets["train"], SPECS[job.data.task].similarity
    assert similarity is not None  # noqa: S101 - the tasks of the method have one
    draw = numpy.random.default_rng(job.seed)
    for _ in range(iterations):
        for text in draw.permutation(len(targets)):
            similar = similarity(targets, targets[text])
            near = numpy.flatnonzero(similar > 0)
            others = near[near != text]
            for partners in (others if len(others) else near, numpy.flatnonzero(similar == similar.min())):
                partner = int(draw.choice(partners))
                yield int(text), partner, float(similar[partner])


def _sides(job: Job, pairs: list[Pair], device: "torch.device") -> "tuple[dict[str, torch.Tensor], list[torch.Tensor]]":
    """Return the padded tokens of the distinct texts of each side of the pairs, and where each pair has its two.

    A pass over distinct texts takes 0.75 of the time, and less with few texts; dropout still makes two of a text that
    is paired with itself, since the sides are apart.
    """
    import numpy
    import torch

    from bertwire_trainer.predict import collator

    train = job.tokens["train"]
    (left, ones), (right, others) = (
        numpy.unique(side, return_inverse=True) for side in list(zip(*pairs, strict=True))[:2]
    )
    tokens = collator(job.tokenizer, train)([train[text] for text in (*left, *right)])
    del tokens["labels"]
    places = [torch.from_numpy(each).to(device) for each in (ones, len(left) + others)]
    return {name: each.to(device) for name, each in tokens.items()}, places
