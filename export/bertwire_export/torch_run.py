"""Run PyTorch on batches of tokenized texts, as `bertwire_runtime.runner` runs a graph."""

from collections.abc import Sequence

import torch

from bertwire_core.pooled import PooledClassifier
from bertwire_export.checkpoint import Checkpoint
from bertwire_export.examples import Logits
from bertwire_runtime.heads import HEADS
from bertwire_runtime.layouts import Layout, Tokens, arrange


def torch_by_text(checkpoint: Checkpoint, texts: Sequence[Tokens]) -> list[Logits]:
    """Return PyTorch's logits of each text of one batch: float32 [labels], or [tokens, labels]."""
    layout = Layout("padded", 0, checkpoint.pad_token_id, HEADS[checkpoint.training.task].by_token)
    with torch.inference_mode():
        logits = checkpoint.model(**_inputs(checkpoint, texts, layout)).logits
    return layout.by_text(logits.float().numpy(), [len(text.ids) for text in texts])


def torch_rows(checkpoint: Checkpoint, texts: Sequence[Tokens]) -> list[Logits]:
    """Return PyTorch's logits and vector of each text of one batch in one row, float32 [labels + hidden]."""
    model, layout = checkpoint.model, Layout("padded", 0, checkpoint.pad_token_id, by_token=False)
    assert isinstance(model, PooledClassifier)  # noqa: S101 - a model that abstains
    with torch.inference_mode():
        logits, vectors = model.both(**_inputs(checkpoint, texts, layout))
    return list(torch.cat([logits.float(), vectors], dim=1).numpy())


def _inputs(checkpoint: Checkpoint, texts: Sequence[Tokens], layout: Layout) -> dict[str, torch.Tensor]:
    arrays = arrange(texts, layout)
    if not checkpoint.reads_types:
        del arrays["token_type_ids"]
    return {name: torch.from_numpy(values) for name, values in arrays.items()}
