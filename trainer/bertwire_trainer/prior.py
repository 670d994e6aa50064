"""Where a new head begins."""

from typing import TYPE_CHECKING, Any

import numpy
import torch
from numpy.typing import NDArray

from bertwire_core.tasks import Task

if TYPE_CHECKING:
    from transformers import PreTrainedModel


def start_at_prior(model: "PreTrainedModel", task: Task, targets: NDArray[Any]) -> None:
    """Sets the bias of a new head to what is right without reading: each label's log-odds, or the mean number.

    Rare labels need logits far below 0, and numbers can lie far from it. Left to the first steps, that push goes
    through the encoder as well, which can then answer every text alike. A bias that is not 0 came with the checkpoint
    and is kept.
    """
    if task not in ("multi_label", "regression"):
        return
    layers = [each for each in model.modules() if isinstance(each, torch.nn.Linear)]
    bias = next((each.bias for each in reversed(layers) if each.out_features == model.config.num_labels), None)
    if bias is None or bias.any():
        return
    mean = numpy.atleast_1d(targets.mean(axis=0)).astype(numpy.float64)
    if task == "multi_label":
        # Half a text more on either side, so that a label that every text has stays finite.
        share = (targets.sum(axis=0) + 0.5) / (len(targets) + 1)
        mean = numpy.log(share / (1 - share))
    with torch.no_grad():
        bias.copy_(torch.from_numpy(mean))
