"""Elastic weight consolidation: weights that mattered for old rows change less (Kirkpatrick et al., 2017)."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

import torch

from bertwire_core.console import tracked
from bertwire_trainer.method import Job
from bertwire_trainer.predict import collator
from bertwire_trainer.tasks import SPECS
from bertwire_trainer.tasks.cross_entropy import IGNORED
from bertwire_trainer.tokens import TokenDataset

if TYPE_CHECKING:
    from bertwire_core.pooled import Classifier
    from bertwire_trainer.tasks.spec import Loss

# Rows whose gradients are taken, one after the other. Halved, the estimate is coarser; each takes a forward and a
# backward pass of its own, some 20 ms of one core for MiniLM.
MOST_ROWS = 1000


def fisher(job: Job, rows: TokenDataset, labels: int) -> dict[str, torch.Tensor]:
    """Return the diagonal of the Fisher information of each weight of `job.model`, on the CPU.

    It is the empirical one: the mean over the rows of the squared gradient of the task's loss by the row's own label,
    with the first `labels` outputs alone, so that rows of the head for new labels have 0.
    """
    model, device = job.model, "cuda" if torch.cuda.is_available() else "cpu"
    model.to(device).eval()  # type: ignore[arg-type]  # transformers' decorator hides the signature
    collate = collator(job.tokenizer, rows)
    sums = {name: torch.zeros_like(weight) for name, weight in model.named_parameters()}
    for index in tracked(range(len(rows)), "fisher", len(rows)):
        batch = {name: each.to(device) for name, each in collate([rows[index]]).items()}
        targets = batch.pop("labels")
        logits = model(**batch).logits.float()[..., :labels]
        model.zero_grad()
        SPECS[rows.task].loss(logits, targets, None, 0.0).backward()
        for name, weight in model.named_parameters():
            if weight.grad is not None:
                sums[name] += weight.grad.square()
    model.zero_grad()
    model.to("cpu")  # type: ignore[arg-type]
    return {name: each.cpu() / len(rows) for name, each in sums.items()}


class Consolidation:
    """A summed loss with the penalty for each target that counts, so that the loop's mean has it once a step."""

    def __init__(
        self, model: "Classifier", inner: "Loss", information: Mapping[str, torch.Tensor], size: float
    ) -> None:
        """Hold the weights that `model` has now.

        Args:
            model: the model, whose weights are those to be trained.
            inner: the summed loss to add to.
            information: the Fisher information of each weight by its name.
            size: the penalty is half of this times the squared change times the information, summed.
        """
        self._inner, self._size = inner, size
        self._held = [(weight, weight.detach().clone(), information[name]) for name, weight in model.named_parameters()]

    def __call__(
        self, logits: torch.Tensor, targets: torch.Tensor, weights: torch.Tensor | None, smoothing: float
    ) -> torch.Tensor:
        """Return the summed loss; arguments as for `TaskSpec.loss`."""
        return self._inner(logits, targets, weights, smoothing) + targets.ne(IGNORED).sum() * self._penalty()

    def _penalty(self) -> torch.Tensor:
        device = self._held[0][0].device
        # Moved once, with the model.
        self._held = [(weight, before.to(device), each.to(device)) for weight, before, each in self._held]
        parts = [(each * (weight - before).square()).sum() for weight, before, each in self._held]
        return self._size / 2 * torch.stack(parts).sum()
