"""The old rows of a head that has grown."""

from typing import TYPE_CHECKING

import torch

from bertwire_trainer.loop.encoder import is_of_encoder

if TYPE_CHECKING:
    from bertwire_core.pooled import Classifier


def keep_head(model: "Classifier", old: "Classifier") -> None:
    """Copy the head of an older model, with fewer labels or as many, into that of `model`, whose labels begin with its.

    A weight or bias with a row for each label keeps the rows of the new ones as they are.
    """
    weights = {name: tensor for name, tensor in old.state_dict().items() if not is_of_encoder(name, old)}
    own = model.state_dict()
    with torch.no_grad():
        for name, tensor in weights.items():
            own[name][: len(tensor)] = tensor
