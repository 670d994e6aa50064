"""Run PyTorch on batches of tokenized texts, as `bertwire_runtime.runner` runs a graph."""

from collections.abc import Sequence

import torch

from bertwire_core.pooled import PooledClassifier
from bertwire_export.checkpoint import Checkpoint
from bertwire_export.examples import Logits
from bertwire_runtime.heads import HEADS
from bertwire_runtime.layouts import Layout, Tokens, arrange


def torch_by_text(checkpoint: Checkpoint, texts: Sequence[Tokens]) -> list[Logits]:
    """Return PyTorch's logits of each text of one batch: float32 [labels], or [tokens, labels]; with `both` its vector.

    These are then in one row, float32 [labels + dimensions], as `Runner` gives them.
    """
    layout = Layout("padded", 0, checkpoint.pad_token_id, HEADS[checkpoint.training.task].by_token)
    arrays = arrange(texts, layout)
    if not checkpoint.reads_types:
        del arrays["token_type_ids"]
    with torch.inference_mode():
        inputs = {name: torch.from_numpy(values) for name, values in arrays.items()}
        if checkpoint.both and isinstance(checkpoint.model, PooledClassifier):
            logits = torch.cat(checkpoint.model.both(**inputs), dim=-1)
        else:
            logits = checkpoint.model(**inputs).logits
    return layout.by_text(logits.float().numpy(), [len(text.ids) for text in texts])
