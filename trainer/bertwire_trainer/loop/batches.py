"""Batches of texts of similar lengths, each of about as many tokens."""

from bisect import bisect_left
from collections.abc import Iterator, Sequence

import numpy
from numpy.typing import NDArray
from torch.utils.data import Sampler

# Batches' worth of texts, drawn at random, that are sorted by length together. Halved, batches hold more padding; with
# all of train in one pool, a text of a rare length would have the same neighbours in every epoch.
_POOL_BATCHES = 50
# Pools at least, where train is small; halved, neighbours repeat as above.
_LEAST_POOLS = 4

Rows = NDArray[numpy.integer]


class TokenBatches(Sampler[list[int]]):
    """Batches of one token budget, others each epoch, in random order; every epoch has as many.

    The texts of a batch times the tokens of its longest are at most the budget; a text longer than that is alone.
    """

    def __init__(
        self,
        lengths: Sequence[int],
        batch_size: int,
        *,
        budget: int | None,
        epochs: int,
        seed: int,
        processes: int = 1,
        process: int = 0,
    ) -> None:
        """Plan the batches.

        Args:
            lengths: tokens of each text.
            batch_size: texts of a batch on average; the budget is then the least with which no more batches are needed.
            budget: padded tokens of a batch at most, in place of `batch_size`; None: as above.
            epochs: how many epochs there will be.
            seed: the seed of what is random.
            processes: how many processes train together, each on batches of its own, all on as many.
            process: the number of this one.
        """
        self._lengths, self._budget, self._seed, self._epoch = numpy.asarray(lengths), budget, seed, 0
        texts = batch_size if budget is None else max(1, int(budget / self._lengths.mean()))
        self._pool = texts * max(1, min(len(lengths) // (texts * _LEAST_POOLS), _POOL_BATCHES))
        self._processes, self._process = processes, process
        least = -(-len(lengths) // batch_size)
        if budget is not None:
            least = max(len(self._cut(self._pools(self._random(epoch)), budget)) for epoch in range(epochs))
        self._count = -(-least // processes) * processes

    def __len__(self) -> int:
        """Return the batches of an epoch, of this process."""
        return self._count // self._processes

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch, counted from 0, that is next."""
        self._epoch = epoch

    def __iter__(self) -> Iterator[list[int]]:
        """Yield the texts of each batch of the epoch, of this process."""
        random = self._random(self._epoch)
        pools = self._pools(random)
        batches = self._cut(pools, self._budget or self._least_budget(pools))
        while len(batches) < self._count:
            largest = max(range(len(batches)), key=lambda place: len(batches[place]))
            # A batch of one text is repeated: each process needs as many.
            batches += numpy.array_split(batches.pop(largest), 2) if len(batches[largest]) > 1 else [batches[largest]]
        for place in random.permutation(len(batches))[self._process :: self._processes]:
            yield batches[place].tolist()

    def _random(self, epoch: int) -> numpy.random.Generator:
        return numpy.random.default_rng((self._seed, epoch))

    def _pools(self, random: numpy.random.Generator) -> list[Rows]:
        """Return the texts in random pools, each from the longest to the shortest."""
        order = random.permutation(len(self._lengths))
        pools = [order[start : start + self._pool] for start in range(0, len(order), self._pool)]
        return [pool[numpy.argsort(-self._lengths[pool], kind="stable")] for pool in pools]

    def _cut(self, pools: list[Rows], budget: int) -> list[Rows]:
        batches = []
        for pool in pools:
            start = 0
            while start < len(pool):
                end = start + max(1, budget // int(self._lengths[pool[start]]))
                batches.append(pool[start:end])
                start = end
        return batches

    def _least_budget(self, pools: list[Rows]) -> int:
        most = int(self._lengths.max()) * self._pool
        return bisect_left(range(most), True, key=lambda budget: len(self._cut(pools, budget)) <= self._count)
