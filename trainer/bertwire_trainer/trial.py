"""A trial of the loaded model on a few tokens, before any time goes into training it."""

from typing import TYPE_CHECKING, Any

import numpy
import torch
from numpy.typing import NDArray

from bertwire_core.errors import UserError
from bertwire_trainer.base import Base, one_line
from bertwire_trainer.same import difference

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from bertwire_core.pooled import Classifier


def require_answers(base: Base, model: "Classifier", tokenizer: "PreTrainedTokenizerBase") -> None:
    """Raise `UserError` where the model does not run, or gives a text other logits beside a longer one.

    Batches are padded in training and in serving, and no answer may depend on it.
    """
    with one_line(base):
        alone = _logits(model, tokenizer, ["a"])
        padded = _logits(model, tokenizer, ["a", "a text of some more words than one"])[:, : alone.shape[1]]
    if (worst := difference(alone[0], padded[0])) is not None:
        raise UserError(
            f"--model {base.name}: its answers depend on the padding of a batch, by {worst:.2g} in a logit, so that "
            "they cannot be served; choose another checkpoint"
        )


def _logits(model: "Classifier", tokenizer: "PreTrainedTokenizerBase", texts: list[str]) -> NDArray[Any]:
    batch = tokenizer(texts, truncation=True, padding=True, return_tensors="pt", return_token_type_ids=False)
    model.eval()
    with torch.inference_mode():
        logits: NDArray[numpy.float32] = model(
            input_ids=batch["input_ids"], attention_mask=batch["attention_mask"]
        ).logits.numpy()
    return logits
