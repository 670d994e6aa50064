"""Vectors of the encoder as it was before training: the mean over the tokens of a text."""

import time
from functools import cached_property
from typing import NamedTuple

import numpy
import torch
from numpy.typing import NDArray

from bertwire_core.chunks import KEY
from bertwire_core.pooled import PooledClassifier
from bertwire_core.pooling import Pooling
from bertwire_trainer.linear import choose_strength
from bertwire_trainer.loading import load_encoder
from bertwire_trainer.messages import note
from bertwire_trainer.method import Job
from bertwire_trainer.predict import embed
from bertwire_trainer.tokens import tokenize

# Rows of train, and of dev and of test, that are embedded at most. With half as many of train, classes of banking77
# have 30 texts each and a linear layer on them is some points worse; 5,000 texts of 12 tokens take some 20 seconds.
MOST_TRAIN, MOST_HELD = 5000, 2000
# Seconds that the rows of train may take, and dev and test together. Halved, long texts are judged by half as many.
_SECONDS = 25.0
# Rows by which the time of one is measured, and the fewest rows that are embedded, however long they take. Halved, the
# time depends on which rows were drawn.
_FIRST = 256

Floats = NDArray[numpy.float32]


class Sample(NamedTuple):
    """Rows drawn from a split: their places, ascending, their vectors, float32 [places, size], and the time it took."""

    places: NDArray[numpy.integer]
    vectors: Floats
    seconds: float


class Vectors:
    """The encoder that a run started from, and samples of its splits; each is computed at the first use."""

    def __init__(self, job: Job) -> None:
        self._job = job

    @cached_property
    def train(self) -> Sample:
        """Rows of train: as many as `MOST_TRAIN` and the time allow."""
        return self._sample("train", MOST_TRAIN, _SECONDS)

    @cached_property
    def held(self) -> dict[str, Sample]:
        """Rows of dev and test: as many as `MOST_HELD` and the time allow."""
        names = [*self._job.data.held_out()]
        return {name: self._sample(name, MOST_HELD, _SECONDS / len(names)) for name in names}

    @cached_property
    def strength(self) -> float:
        """The strength of a linear layer on them, by cross-validation."""
        data, train = self._job.data, self.train
        return choose_strength(
            train.vectors, data.targets["train"][train.places], data.task, data.labels, self._job.seed
        )

    @cached_property
    def _model(self) -> PooledClassifier:
        job = self._job
        model = load_encoder(job.base, job.data.task, job.data.labels, Pooling("mean"))
        setattr(model.config, KEY, getattr(job.model.config, KEY, None))
        return model.to("cuda" if torch.cuda.is_available() else "cpu")

    def _sample(self, name: str, most: int, seconds: float) -> Sample:
        split = self._job.data.splits()[name]
        order = numpy.random.default_rng(self._job.seed).permutation(len(split))
        begun = time.perf_counter()
        first = self._embed(name, order[:_FIRST])
        a_row = (time.perf_counter() - begun) / len(first)
        order = order[: min(most, max(_FIRST, int(seconds / a_row)))]
        if len(order) < len(split):
            note(f"report: reads {len(order)} of the {len(split)} rows of {name}")
        rest = [self._embed(name, order[_FIRST:])] if len(order) > _FIRST else []
        places = numpy.argsort(order)
        return Sample(order[places], numpy.concatenate([first, *rest])[places], time.perf_counter() - begun)

    def _embed(self, name: str, places: NDArray[numpy.integer]) -> Floats:
        job = self._job
        rows, targets = job.data.splits()[name].take(places.tolist()), job.data.targets[name][places]
        (vectors,) = embed(
            self._model, job.tokenizer, tokenize(self._model, job.tokenizer, rows, targets), f"report: {name}"
        )
        return vectors
