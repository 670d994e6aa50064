"""Predictions of a model, outside of training steps."""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy
import torch
from numpy.typing import NDArray
from torch.utils.data import DataLoader, Subset
from transformers import DataCollatorForTokenClassification, DataCollatorWithPadding

from bertwire_core.console import tracked
from bertwire_data.labelled import outside_row
from bertwire_trainer.tasks import SPECS
from bertwire_trainer.tasks.cross_entropy import IGNORED
from bertwire_trainer.tokens import TokenDataset

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from bertwire_core.pooled import Classifier, PooledClassifier
    from bertwire_core.pooling import Pooled

# Texts of one forward pass; halved, nothing breaks.
_BATCH = 64


def collator(tokenizer: "PreTrainedTokenizerBase", dataset: TokenDataset) -> Any:  # noqa: ANN401 - a callable
    """Return what makes a padded batch of items of `dataset`."""
    kind = DataCollatorForTokenClassification if SPECS[dataset.task].by_word else DataCollatorWithPadding
    return kind(tokenizer)


def predict(
    model: "Classifier",
    tokenizer: "PreTrainedTokenizerBase",
    dataset: TokenDataset,
    labels: list[str],
    title: str,
) -> NDArray[numpy.float32]:
    """Return the logits, float32 [rows of `dataset.targets`, labels]; show a bar called `title`.

    A word that was cut off has `outside_row(labels)`; a text in chunks has the mean of theirs.
    """
    by_word = SPECS[dataset.task].by_word
    result = numpy.empty((len(dataset), len(labels)), numpy.float32)
    if by_word:
        result = numpy.tile(outside_row(labels), (len(dataset.targets), 1))
    model.eval()
    with torch.inference_mode():
        for items, batch in batches(model, tokenizer, dataset, title):
            answered = batch.pop("labels") != IGNORED
            logits = model(**batch).logits.float()
            rows = numpy.concatenate([dataset.rows(index) for index in items]) if by_word else items
            result[rows] = (logits[answered] if by_word else logits).cpu().numpy()
    return result if by_word else dataset.by_text(result)


def embed(
    model: "PooledClassifier",
    tokenizer: "PreTrainedTokenizerBase",
    dataset: TokenDataset,
    title: str,
    poolings: "Sequence[Pooled]" = (),
) -> list[NDArray[numpy.float32]]:
    """Return what the model's linear layer reads of each text, float32 [texts, hidden size]; show a bar.

    Of a text in chunks it is the mean of what it reads of them.

    Args:
        model: the model.
        tokenizer: its tokenizer.
        dataset: the texts.
        title: the title of the bar.
        poolings: tokens to read in place of the model's own; there is one array for each.
    """
    read = poolings or (model.pooling.tokens,)
    result = [numpy.empty((len(dataset), model.head.in_features), numpy.float32) for _ in read]
    model.eval()
    with torch.inference_mode():
        for items, batch in batches(model, tokenizer, dataset, title):
            del batch["labels"]
            vectors = model.encode(**batch)
            for found, tokens in zip(result, read, strict=True):
                found[items] = model.read(vectors, batch["attention_mask"], tokens).cpu().numpy()
    return [dataset.by_text(each) for each in result]


def batches(
    model: "Classifier", tokenizer: "PreTrainedTokenizerBase", dataset: TokenDataset, title: str
) -> Iterator[tuple[list[int], dict[str, torch.Tensor]]]:
    """Yield the places of some items, and their padded batch with labels on the model's device; show a bar."""
    # Batches of one length waste no work on padding.
    order = sorted(range(len(dataset)), key=dataset.lengths.__getitem__)
    loader = DataLoader(Subset(dataset, order), _BATCH, collate_fn=collator(tokenizer, dataset))
    for number, batch in enumerate(tracked(loader, title, len(loader))):
        items = order[number * _BATCH : (number + 1) * _BATCH]
        yield items, {key: value.to(model.device) for key, value in batch.items()}
