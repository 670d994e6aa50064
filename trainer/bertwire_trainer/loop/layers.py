"""The depth of a model's weights, and what full fine-tuning does by depth."""
# ruff: noqa: ANN401, ARG002 - Trainer calls every hook with all it has, and each needs little of it.

import re
from typing import TYPE_CHECKING, Any

from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from bertwire_trainer.loop.encoder import is_of_encoder

if TYPE_CHECKING:
    from torch.nn import Parameter

    from bertwire_core.pooled import Classifier

Depths = dict["Parameter", int]


def depths(model: "Classifier") -> Depths:
    """Return the depth of each weight that needs a gradient: 0 for embeddings, then the layers, last the head."""
    found = {name: _layer(name, model) for name, weight in model.named_parameters() if weight.requires_grad}
    head = max((layer for layer in found.values() if layer is not None), default=0) + 1
    weights = dict(model.named_parameters())
    return {weights[name]: head if layer is None else layer for name, layer in found.items()}


def _layer(name: str, model: "Classifier") -> int | None:
    """Return 0 for embeddings and what lies beside the layers, the number of a layer from 1 on, None for the head."""
    if not is_of_encoder(name, model):
        return None
    number = re.search(r"\.(\d+)\.", name)
    return int(number.group(1)) + 1 if number else 0


def rates(depths: Depths, decay: float) -> "dict[Parameter, float]":
    """Return the factor of each weight's learning rate: 1 for the head, times `decay` for each layer below it."""
    head = max(depths.values())
    return {weight: decay ** (head - depth) for weight, depth in depths.items()}


class Unfreezing(TrainerCallback):
    """Gradual unfreezing (Howard and Ruder, 2018): the head alone at first, then more layers, from the top, each epoch.

    A frozen weight has no gradient, and AdamW passes over it.
    """

    def __init__(self, depths: Depths, epochs: int) -> None:
        """Unfreeze over `epochs` epochs; after them all weights of `depths` learn."""
        self._depths, self._epochs = depths, epochs

    def on_epoch_begin(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        """Freeze what is below the layers that learn in this epoch."""
        self._freeze_below(round(max(self._depths.values()) * (1 - int(state.epoch or 0) / self._epochs)))

    def on_train_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        """Unfreeze all."""
        self._freeze_below(0)

    def _freeze_below(self, lowest: int) -> None:
        for weight, depth in self._depths.items():
            weight.requires_grad_(depth >= lowest)
