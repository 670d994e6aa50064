"""Choose texts that differ from one another: the middles of k-means clusters of their vectors."""

import warnings
from typing import Any

import numpy
from numpy.typing import NDArray
from sklearn.cluster import KMeans
from sklearn.exceptions import ConvergenceWarning

Floats = NDArray[numpy.floating]

# The most uncertain texts among which a batch is chosen, as a multiple of it (Zhdanov 2019, arXiv:1901.05954), and as a
# share of all. With a multiple of 5, banking77 at 500 labels has half a point less macro-F1; without the share, a batch
# that is large beside the pool would be chosen by diversity alone, which costs 7 points there.
_CANDIDATES = 10
_SHARE = 1 / 3
# Rounds of k-means; halved, clusters of a large pool are a little less even.
_ITERATIONS = 50


def candidates(uncertainty: NDArray[numpy.float64], count: int) -> list[int]:
    """Return the indices of the most uncertain texts, among which `count` are to be chosen; all where none differ."""
    if len(uncertainty) == 0 or numpy.ptp(uncertainty) == 0:
        return list(range(len(uncertainty)))
    size = max(count, min(_CANDIDATES * count, round(len(uncertainty) * _SHARE)))
    return [int(index) for index in numpy.argsort(-uncertainty, kind="stable")[:size]]


def diverse(vectors: Floats, count: int, seed: int, known: Floats | None = None) -> list[int]:
    """Return the indices of up to `count` texts, each the one nearest the centre of its cluster, large clusters first.

    Args:
        vectors: floats [texts, hidden].
        count: texts to choose.
        seed: of the clusters' first centres.
        known: floats [labelled texts, hidden]; clusters that hold one of them are passed over.
    """
    if count >= len(vectors):
        return list(range(len(vectors)))
    every = vectors if known is None else numpy.concatenate([known, vectors])
    clusters = min(count + len(every) - len(vectors), len(every))
    means = KMeans(clusters, n_init=1, max_iter=_ITERATIONS, random_state=seed)
    with warnings.catch_warnings():
        # Fewer clusters than asked for, where vectors are the same.
        warnings.simplefilter("ignore", ConvergenceWarning)
        found = means.fit_predict(every)
    old, new = numpy.split(found, [len(every) - len(vectors)])
    sizes = numpy.bincount(new, minlength=clusters)
    sizes[old] = 0
    order = [each for each in numpy.argsort(-sizes, kind="stable") if sizes[each]][:count]
    chosen = [_nearest(vectors, numpy.flatnonzero(new == each), means.cluster_centers_[each]) for each in order]
    rest = sorted(set(range(len(vectors))) - set(chosen))
    return [*chosen, *rest[: count - len(chosen)]]


def _nearest(vectors: Floats, members: NDArray[Any], centre: Floats) -> int:
    return int(members[numpy.square(vectors[members] - centre).sum(axis=1).argmin()])
