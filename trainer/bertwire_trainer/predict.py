"""Predictions of a model, outside of training steps."""

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
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

# Texts of one forward pass; halved, nothing breaks.
_BATCH = 64


def collator(tokenizer: "PreTrainedTokenizerBase", dataset: TokenDataset) -> Any:  # noqa: ANN401 - a callable
    """Return what makes a padded batch of items of `dataset`."""
    kind = DataCollatorForTokenClassification if SPECS[dataset.task].by_word else DataCollatorWithPadding
    return kind(tokenizer)


def predict(
    model: "PreTrainedModel",
    tokenizer: "PreTrainedTokenizerBase",
    dataset: TokenDataset,
    labels: list[str],
    title: str,
) -> NDArray[numpy.float32]:
    """Return the logits, float32 [rows of `dataset.targets`, labels]; show a bar called `title`.

    A word that was cut off has `outside_row(labels)`.
    """
    by_word = SPECS[dataset.task].by_word
    # Batches of one length waste no work on padding.
    order = sorted(range(len(dataset)), key=dataset.lengths.__getitem__)
    loader = DataLoader(Subset(dataset, order), _BATCH, collate_fn=collator(tokenizer, dataset))
    blank = outside_row(labels) if by_word else numpy.zeros(len(labels), numpy.float32)
    result = numpy.tile(blank, (len(dataset.targets), 1))
    rows = numpy.concatenate([dataset.rows(index) for index in order])
    model.eval()
    done = 0
    with torch.inference_mode():
        for batch in tracked(loader, title, len(loader)):
            answered = batch.pop("labels") != IGNORED
            logits = model(**{key: value.to(model.device) for key, value in batch.items()}).logits.float().cpu()
            found = (logits[answered] if by_word else logits).numpy()
            result[rows[done : done + len(found)]] = found
            done += len(found)
    return result
