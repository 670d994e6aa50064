"""Means of weights."""

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from safetensors.torch import load_file, save_file

from bertwire_core.files import whole_file
from bertwire_trainer import ranks

if TYPE_CHECKING:
    from bertwire_core.pooled import Classifier

Weights = dict[str, torch.Tensor]


def copied(model: "Classifier") -> Weights:
    """Return a copy of the model's weights on the CPU."""
    return {name: tensor.detach().to("cpu", copy=True) for name, tensor in model.state_dict().items()}


def mean(states: Iterable[Weights]) -> Weights:
    """Return the mean of each floating-point tensor; of others the last."""
    total: Weights = {}
    count = 0
    for count, state in enumerate(states, start=1):  # noqa: B007 - the number of states
        for name, tensor in state.items():
            floating = name in total and tensor.is_floating_point()
            total[name] = total[name] + tensor if floating else tensor
    return {name: tensor / count if tensor.is_floating_point() else tensor for name, tensor in total.items()}


class LastEpochs:
    """The weights after each of the last epochs, in files of their own beside Trainer's checkpoints."""

    def __init__(self, folder: Path, count: int) -> None:
        """Keep at most `count` files in `folder`."""
        self._folder, self._count = folder, count

    def keep(self, epoch: int, model: "Classifier") -> None:
        """Write the weights after an epoch, and delete those that are no longer among the last."""
        if ranks.is_first():
            with whole_file(self._file(epoch)) as file:
                save_file(copied(model), file)
            self._file(epoch - self._count).unlink(missing_ok=True)
        ranks.wait()

    def epochs(self, last: int) -> range:
        """Return the epochs whose weights are there after epoch `last`."""
        return range(max(1, last - self._count + 1), last + 1)

    def mean(self, last: int) -> Weights:
        """Return the mean weights of the last epochs after epoch `last`."""
        return mean(load_file(self._file(epoch)) for epoch in self.epochs(last))

    def _file(self, epoch: int) -> Path:
        return self._folder / f"epoch-{epoch}.safetensors"
