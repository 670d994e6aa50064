"""FGM adversarial training: token embeddings moved towards a higher loss (Miyato et al., 2017)."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn


class Adversary:
    """The gradient of a batch's token embeddings, and the same batch with the embeddings moved along it."""

    def __init__(self, embeddings: nn.Module, size: float) -> None:
        """Watch a layer that gives floats [texts, tokens, hidden].

        Args:
            embeddings: the layer of token embeddings; it may be frozen.
            size: L2 norm of the move, over all tokens of a text.
        """
        self._embeddings, self._size = embeddings, size
        self._seen: torch.Tensor | None = None

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Keep the embeddings of the forward pass in the block, with the gradient that its backward pass gives them."""
        with self._hooked(self._keep):
            yield

    @contextmanager
    def attacking(self) -> Iterator[None]:
        """Move the embeddings of the forward pass in the block, which must be of the batch that was watched."""
        with self._hooked(self._move):
            yield
        self._seen = None

    @contextmanager
    def _hooked(self, hook: Any) -> Iterator[None]:  # noqa: ANN401 - a callable
        handle = self._embeddings.register_forward_hook(hook)
        try:
            yield
        finally:
            handle.remove()

    def _keep(self, _: nn.Module, __: object, output: torch.Tensor) -> None:
        self._seen = output.requires_grad_() if output.is_leaf else output
        self._seen.retain_grad()

    def _move(self, _: nn.Module, __: object, output: torch.Tensor) -> torch.Tensor:
        assert self._seen is not None  # noqa: S101 - the caller has watched this batch
        assert self._seen.grad is not None  # noqa: S101
        gradient = self._seen.grad
        norms = gradient.flatten(1).norm(dim=1).view(-1, 1, 1)
        # A gradient of 0, or one that overflowed in fp16, has no direction.
        direction: torch.Tensor = (gradient / norms).nan_to_num(0.0, 0.0, 0.0)
        return output + self._size * direction
