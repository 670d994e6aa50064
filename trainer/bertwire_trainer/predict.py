"""Scores texts with a model, outside of training."""

from typing import TYPE_CHECKING

import numpy
import torch
from torch.utils.data import DataLoader, Subset
from transformers import DataCollatorWithPadding

from bertwire_client.console import tracked
from bertwire_trainer.scores import Floats
from bertwire_trainer.tokens import TokenDataset

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

_BATCH = 64


def predict(
    model: "PreTrainedModel", tokenizer: "PreTrainedTokenizerBase", dataset: TokenDataset, title: str
) -> Floats:
    """The logits of every text, float32 [texts, labels], in the order of `dataset`, under a bar called `title`."""
    # Batches of one length waste no work on padding.
    order = sorted(range(len(dataset)), key=dataset.lengths.__getitem__)
    loader = DataLoader(Subset(dataset, order), _BATCH, collate_fn=DataCollatorWithPadding(tokenizer))
    parts = []
    model.eval()
    with torch.inference_mode():
        for batch in tracked(loader, title, len(loader)):
            inputs = {key: batch[key].to(model.device) for key in ("input_ids", "attention_mask")}
            parts.append(model(**inputs).logits.float().cpu().numpy())
    by_length = numpy.concatenate(parts)
    logits = numpy.empty_like(by_length)
    logits[order] = by_length
    return logits
