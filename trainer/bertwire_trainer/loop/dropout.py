"""The dropout of a model."""

from typing import TYPE_CHECKING

from torch import nn

from bertwire_core.errors import UserError

if TYPE_CHECKING:
    from bertwire_core.pooled import Classifier


def set_dropout(model: "Classifier", probability: float) -> None:
    """Set the dropout probability of the encoder and the head; adapters keep theirs."""
    for name, module in model.named_modules():
        if isinstance(module, nn.Dropout) and ".lora_dropout." not in name:
            module.p = probability
        # ModernBERT's kind hands this number to the attention function and has no layer for it.
        elif isinstance(getattr(module, "attention_dropout", None), float):
            module.attention_dropout = probability


def require_dropout(model: "Classifier") -> None:
    """Raise `UserError` where no layer of the model drops anything, so that two passes give the same answers."""
    if not any(isinstance(module, nn.Dropout) and module.p for module in model.modules()):
        raise UserError("--r-drop compares two dropout passes, and this checkpoint has no dropout; set --dropout")
