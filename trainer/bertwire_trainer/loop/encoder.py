"""The encoder of a model, and which weights are of it."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from bertwire_core.pooled import Classifier


def is_of_encoder(name: str, model: "Classifier") -> bool:
    """Return whether a weight or layer is of the encoder; its pooler counts as part of the head."""
    return name.startswith(f"{model.base_model_prefix}.") and ".pooler." not in f"{name}."


def encoder(model: "Classifier") -> "PreTrainedModel":
    """Return the model without its head."""
    found: PreTrainedModel = model.get_submodule(model.base_model_prefix)  # type: ignore[assignment]
    return found
