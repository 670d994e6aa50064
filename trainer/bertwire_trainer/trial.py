"""Tries the loaded model on a few tokens, before any time goes into training it."""

from typing import TYPE_CHECKING

import torch

from bertwire_core.errors import UserError
from bertwire_trainer.base import Base, one_line

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

# More than sums in another order differ by, in parts of the largest logit.
_SAME = 1e-3


def require_answers(base: Base, model: "PreTrainedModel", tokenizer: "PreTrainedTokenizerBase") -> None:
    """Raises `UserError` where the model does not run, or answers a text otherwise beside a longer one.

    Batches are filled up with padding in training and in serving, and no answer may depend on it.
    """
    with one_line(base):
        alone = _logits(model, tokenizer, ["a"])
        padded = _logits(model, tokenizer, ["a", "a text of some more words than one"])[:, : alone.shape[1]]
    worst = float((alone[0] - padded[0]).abs().max())
    if worst > _SAME * max(1.0, float(alone.abs().max())):
        raise UserError(
            f"--model {base.name}: its answers depend on the padding of a batch, by {worst:.2g} in a logit, so that "
            "they cannot be served; choose another checkpoint"
        )


def _logits(model: "PreTrainedModel", tokenizer: "PreTrainedTokenizerBase", texts: list[str]) -> torch.Tensor:
    batch = tokenizer(texts, truncation=True, padding=True, return_tensors="pt", return_token_type_ids=False)
    model.eval()
    with torch.inference_mode():
        logits: torch.Tensor = model(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"]).logits
    return logits
