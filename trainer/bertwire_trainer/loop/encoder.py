"""Which weights of a model are of its encoder."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from transformers import PreTrainedModel


def is_of_encoder(name: str, model: "PreTrainedModel") -> bool:
    """Return whether a weight or layer is of the encoder; its pooler counts as part of the head."""
    return name.startswith(f"{model.base_model_prefix}.") and ".pooler." not in f"{name}."
