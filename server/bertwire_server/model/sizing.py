"""How large a batch makes the most of the processor."""

from collections.abc import Callable, Sequence
from math import inf

from bertwire_server.model.queue import BatchLimits

_FIRST_TEXTS = 4
# So much slower a token, and larger batches need not be tried.
_GIVE_UP = 1.15
# What a batch costs beside its run, in seconds: it is planned, laid out, answered. Of larger ones there are fewer.
_BESIDE_SECONDS = 0.0006
# Of each size at least, before it is judged: one run alone may have been disturbed. Then so many more, for so long.
_ROUNDS, _MORE_ROUNDS = 3, 20
_SECONDS = 1.0


def efficient_tokens(
    run: Callable[[Sequence[int]], object],
    limits: BatchLimits,
    length: int,
    clock: Callable[[], float],
) -> int:
    """The most tokens of a batch that are computed at the best rate.

    In a larger batch more texts share what a run costs for itself; but once what it computes does not fit the
    processor's caches any more, each token takes longer. Where that begins depends on processor, graph and precision,
    so it is measured, by batches of 4, 8, 16 ... texts: three of each at least, and up to twenty more in turns until a
    second is over.

    Args:
        run: runs a batch, given the token counts of its texts.
        limits: what a batch may hold.
        length: tokens of a text.
        clock: seconds; of the thread's own work where that is possible, since the machine may have other work.

    Returns:
        a token budget, at most that of `limits`; theirs where the largest batch that they allow is best.
    """
    largest = min(limits.texts, limits.tokens // length)
    if largest < 2:
        return limits.tokens
    best = dict[int, float]()  # seconds a text, by texts

    def measure(texts: int) -> None:
        start = clock()
        run([length] * texts)
        best[texts] = min(best.get(texts, inf), (clock() - start + _BESIDE_SECONDS) / texts)

    end, texts = clock() + _SECONDS, min(_FIRST_TEXTS, largest)
    promising = True
    while promising and texts not in best:
        run([length] * texts)  # first times are slow
        for _ in range(_ROUNDS):
            measure(texts)
        promising = best[texts] <= _GIVE_UP * min(best.values())
        texts = min(2 * texts, largest)
    for _ in range(_MORE_ROUNDS):
        if clock() >= end:
            break
        for each in best:
            measure(each)
    chosen = min(best, key=best.__getitem__)
    return limits.tokens if chosen == largest else chosen * length
