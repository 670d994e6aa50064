"""Curves of a training for TensorBoard."""

from typing import Any

from transformers.integrations.integration_utils import TensorBoardCallback


class Curves(TensorBoardCallback):
    """TensorBoard curves without the arguments, which the base class adds at the start and which contain paths."""

    def on_train_begin(self, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401
        """Write nothing."""
