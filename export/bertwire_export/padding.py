"""Find out whether a model's logits depend on the padding of a batch."""

import torch

from bertwire_core.pooled import Network

# Relative to the largest logit; more than sums in another order differ by.
_SAME = 1e-3
# Padding tokens behind the text; with half as many a mean over all positions changes less.
_PADDING = 16


def padding_counts(model: Network, ids: list[int], pad_token_id: int, max_length: int) -> float | None:
    """Return the largest change of a text's logit with padding behind it; None where that is rounding alone.

    Some architectures mix or pool over all places of a batch, such as Funnel, Nystromformer, FNet and ConvBERT.

    Args:
        model: the model, in evaluation mode.
        ids: the text's tokens, with special tokens.
        pad_token_id: the padding token.
        max_length: most tokens that the model may be given.
    """
    added = min(_PADDING, max_length - len(ids))
    padded = torch.tensor([ids + [pad_token_id] * added])
    mask = torch.tensor([[1] * len(ids) + [0] * added])
    with torch.inference_mode():
        alone = model(input_ids=padded[:, : len(ids)], attention_mask=mask[:, : len(ids)]).logits
        found = model(input_ids=padded, attention_mask=mask).logits[:, : alone.shape[1]]
    worst = float((alone - found).abs().max())
    return worst if worst > _SAME * max(1.0, float(alone.abs().max())) else None
