"""Batches that do not fit into the memory of the GPU."""

from collections.abc import Callable
from typing import Any

import torch

from bertwire_core.errors import UserError
from bertwire_trainer import ranks
from bertwire_trainer.messages import note

Batch = dict[str, Any]


class Parts:
    """Runs the batches of an optimizer step in parts, twice as many after each time that memory runs out.

    A loss is a sum over texts divided by what does not depend on the parts, so their gradients add up to the batch's.
    """

    def __init__(self) -> None:
        self._count = 1
        self._batches: list[Batch] = []

    def begin(self) -> None:
        """Begin an optimizer step."""
        self._batches = []

    def run(self, step: Callable[[Batch], torch.Tensor], batch: Batch, zero: Callable[[], None]) -> torch.Tensor:
        """Return the loss of a batch, its gradients added to those of the step's batches before it.

        Args:
            step: adds the gradients of a batch and returns its loss.
            batch: tensors [texts, ...].
            zero: sets the gradients to 0.

        Raises:
            UserError: not even one text at a time fits.
        """
        self._batches.append(batch)
        pending = [batch]
        while True:
            try:
                losses = [self._in_parts(step, each) for each in pending]
            except torch.OutOfMemoryError:
                if ranks.count() > 1:  # the others would wait for gradients of as many parts
                    raise
                # Handled outside of this block, in which the error still holds the tensors of the failed pass.
                losses = []
            if losses:
                return losses[-1]
            self._halve()
            # A backward pass that broke off has added some of its gradients.
            zero()
            pending = self._batches

    def _in_parts(self, step: Callable[[Batch], torch.Tensor], batch: Batch) -> torch.Tensor:
        cut = {name: each.chunk(self._count) for name, each in batch.items()}
        parts = [dict(zip(cut, each, strict=True)) for each in zip(*cut.values(), strict=True)]
        return torch.stack([step(part) for part in parts]).sum()

    def _halve(self) -> None:
        texts, tokens = self._batches[-1]["input_ids"].shape
        if self._count >= texts:
            raise UserError(
                f"out of GPU memory with one text of {tokens} tokens; lower --max-length or choose a smaller --model"
            )
        self._count *= 2
        torch.cuda.empty_cache()
        note(
            f"out of GPU memory with {texts} texts of {tokens} tokens: each batch now runs in {self._count} parts, "
            "whose gradients make the same step"
        )
