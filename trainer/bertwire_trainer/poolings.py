"""The pooling of a run: as the user chose it, or the one that the encoder does best with before it is trained."""

from dataclasses import replace
from typing import TYPE_CHECKING, get_args

import numpy
import torch

from bertwire_core.pooling import Pooled, Pooling
from bertwire_core.tasks import Task
from bertwire_data.labelled import MAIN_METRIC
from bertwire_trainer.config import RunConfig
from bertwire_trainer.data import Data
from bertwire_trainer.linear import fit_linear
from bertwire_trainer.messages import metric_name, note
from bertwire_trainer.methods import METHODS
from bertwire_trainer.predict import embed
from bertwire_trainer.record import PoolingRecord
from bertwire_trainer.scores import measure
from bertwire_trainer.tasks import SPECS
from bertwire_trainer.tokens import TokenDataset, tokenize

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from bertwire_core.pooled import Classifier, PooledClassifier

# Texts of train, and of dev, that poolings are compared on. With half as many, poolings a point apart change places by
# chance; each 1,000 texts take some ten seconds of one core with MiniLM.
_TEXTS = 2000


def first_pooling(config: RunConfig, task: Task) -> Pooling | None:
    """Return the pooling that the model is made with; of `auto` any one, which `settle_pooling` replaces.

    None is the architecture's own head. What a method normalizes stays so with the tokens that the user chooses, and an
    older checkpoint's pooling as it was.
    """
    if (start := config.start) is not None:
        return start.pooling
    if SPECS[task].by_word or config.pooling == "own":
        return None
    default = METHODS[config.method].pooling or Pooling("mean")
    tokens = default.tokens if config.pooling is None or config.pooling == "auto" else config.pooling
    return Pooling(tokens, config.pooler or default.pooler, config.normalize or default.normalize)


def settle_pooling(
    model: "Classifier", tokenizer: "PreTrainedTokenizerBase", data: Data, config: RunConfig
) -> PoolingRecord | None:
    """Return the pooling for the record; choose it, and say so, where it is auto. None: the architecture's own head."""
    from bertwire_core.pooled import PooledClassifier

    if not isinstance(model, PooledClassifier):
        return None
    tried = {}
    if config.pooling == "auto":
        tried = _try(model, tokenizer, data, config.seed)
        best = max(tried, key=tried.__getitem__)
        model.pooling = replace(model.pooling, tokens=best)
        scores = ", ".join(f"{name} {score:.4f}" for name, score in tried.items())
        note(f"--pooling {best}: {metric_name(MAIN_METRIC[data.task])} of a linear layer on dev: {scores}")
    return PoolingRecord(**model.pooling.field(), tried=tried)


def _try(model: "PooledClassifier", tokenizer: "PreTrainedTokenizerBase", data: Data, seed: int) -> dict[Pooled, float]:
    """Return the score on dev, rounded, of a linear layer on what each pooling reads of the encoder as it is."""
    poolings = get_args(Pooled)
    train, dev = (_sample(model, tokenizer, data, name, seed) for name in ("train", "dev"))
    model.to("cuda" if torch.cuda.is_available() else "cpu")
    learnt, held = (embed(model, tokenizer, rows, "compare poolings", poolings) for rows in (train, dev))
    model.to("cpu")
    scores = {}
    for name, vectors, asked in zip(poolings, learnt, held, strict=True):
        weight, bias = fit_linear(vectors, train.targets, data.task, len(data.labels))
        found = measure(data.task, asked @ weight.T + bias, dev.targets, data.labels, None)
        # Rounded, so that a resumed run on another machine has the same record.
        scores[name] = round(found[MAIN_METRIC[data.task]], 4)
    return scores


def _sample(
    model: "PooledClassifier", tokenizer: "PreTrainedTokenizerBase", data: Data, name: str, seed: int
) -> TokenDataset:
    split, targets = data.splits()[name], data.targets[name]
    order = numpy.random.default_rng(seed).permutation(len(split))[:_TEXTS]
    places = numpy.sort(order)
    return tokenize(model, tokenizer, split.take(places.tolist()), targets[places])
