"""The loss of tasks that choose one label of several."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

# Target of tokens that the loss leaves out: special tokens, and the pieces of a word after its first. PyTorch's and
# transformers' own value; Trainer counts the targets of a step by it.
IGNORED = -100


def cross_entropy(
    logits: "torch.Tensor", targets: "torch.Tensor", weights: "torch.Tensor | None", smoothing: float
) -> "torch.Tensor":
    """Return the summed cross-entropy of logits [..., labels] and targets, int64 [...], without those `IGNORED`."""
    import torch

    return torch.nn.functional.cross_entropy(
        logits.flatten(0, -2),
        targets.flatten(),
        weight=None if weights is None else weights.to(logits.device),
        ignore_index=IGNORED,
        label_smoothing=smoothing,
        reduction="sum",
    )


def softmax(logits: "torch.Tensor") -> "torch.Tensor":
    """Return the probability of each label."""
    return logits.softmax(dim=-1)


def divergence(logits: "torch.Tensor", means: "torch.Tensor") -> "torch.Tensor":
    """Return the KL divergence of the softmax of logits from a teacher's probabilities, [...] of [..., labels] each."""
    import torch

    apart: torch.Tensor = torch.special.xlogy(means, means) - means * logits.log_softmax(dim=-1)
    return apart.sum(dim=-1)
