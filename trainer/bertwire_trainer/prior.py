"""The bias that a new head starts with."""

from typing import TYPE_CHECKING, Any

import torch
from numpy.typing import NDArray

from bertwire_core.tasks import Task
from bertwire_trainer.tasks import SPECS

if TYPE_CHECKING:
    from bertwire_core.pooled import Classifier


def start_at_prior(model: "Classifier", task: Task, targets: NDArray[Any]) -> None:
    """Set the bias of a new head, where the task has a prior: each label's log-odds in train, or the mean number.

    Rare labels need logits far below 0, and numbers can lie far from it. Left to the first steps, that push goes
    through the encoder as well, which can then give every text the same logits. A bias that is not 0 came with the
    checkpoint and is kept.
    """
    prior = SPECS[task].prior
    layers = [each for each in model.modules() if isinstance(each, torch.nn.Linear)]
    bias = next((each.bias for each in reversed(layers) if each.out_features == model.config.num_labels), None)
    if prior is None or bias is None or bias.any():
        return
    with torch.no_grad():
        bias.copy_(torch.from_numpy(prior(targets)))
