"""Centroids of the texts of each label, by which a model abstains (docs/decisions/029-abstained.md)."""

import warnings
from typing import TYPE_CHECKING, Any

import numpy
from numpy.typing import NDArray
from sklearn.cluster import KMeans
from sklearn.exceptions import ConvergenceWarning

from bertwire_core.vectors import normalized
from bertwire_trainer.predict import embed
from bertwire_trainer.tokens import tokenize

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from bertwire_core.pooled import PooledClassifier
    from bertwire_trainer.method import Job

# Centroids of a label at most, and rows of train that one needs at least. With one centroid instead of four, AUROC
# against the texts of labels left out of banking77 is lower by up to 0.065; with eight it is the same.
_CENTROIDS, _ROWS_EACH = 4, 5
# Standard deviations of the cosine on dev for one of the entropy. Doubled, AUROC with two labels, whose logits tell
# nothing of foreign texts, is lower by up to 0.023; at 0, AUROC against labels left out of banking77 by up to 0.018.
_ENTROPY_SHARE = 0.25
# Rows of train that centroids are made of at most, shared by the labels; halved, labels of many rows have centroids of
# half as many.
_MOST_ROWS = 20_000

Floats = NDArray[numpy.float32]


def train_centroids(job: "Job", model: "PooledClassifier", tokenizer: "PreTrainedTokenizerBase") -> Floats:
    """Return the centroids of rows of train, drawn by label where they are many: float32 [centroids, hidden]."""
    tokens, rows = job.tokens["train"], job.data.train
    if len(rows) > _MOST_ROWS:
        places = draw_by_label(job.data.targets["train"], _MOST_ROWS, job.seed)
        tokens = tokenize(model, tokenizer, rows.take(places.tolist()), job.data.targets["train"][places])
    (vectors,) = embed(model, tokenizer, tokens, "embed train")
    return find_centroids(vectors, tokens.targets, job.seed)


def draw_by_label(targets: NDArray[Any], most: int, seed: int) -> NDArray[numpy.int64]:
    """Return the places of `most` rows at most, in order: as many of each label, of one with fewer all of them."""
    labels = numpy.unique(targets)
    mixed = numpy.random.default_rng(seed).permutation(len(targets))
    each = max(1, most // len(labels))
    places = [mixed[targets[mixed] == label][:each] for label in labels]
    return numpy.sort(numpy.concatenate(places))


def find_centroids(vectors: Floats, targets: NDArray[Any], seed: int, most: int = _CENTROIDS) -> Floats:
    """Return the centroids of each label's vectors by k-means on the unit sphere, float32 [centroids, hidden].

    Args:
        vectors: float32 [texts, hidden].
        targets: the label of each, int64 [texts].
        seed: of the clusters' first centres.
        most: centroids of a label at most; one of few texts has fewer.

    Returns:
        Normalized centroids.
    """
    points, found = normalized(vectors), []
    with warnings.catch_warnings():
        # Fewer clusters than asked for, where vectors are the same.
        warnings.simplefilter("ignore", ConvergenceWarning)
        for label in numpy.unique(targets):
            own = points[targets == label]
            count = min(most, max(1, len(own) // _ROWS_EACH))
            found.append(KMeans(count, n_init=1, random_state=seed).fit(own).cluster_centers_)
    return normalized(numpy.concatenate(found))


def weigh_entropy(
    near: NDArray[numpy.float64], entropy: NDArray[numpy.float64], share: float = _ENTROPY_SHARE
) -> float:
    """Return what a nat of entropy takes from the scope, so that both spread over dev as `share` says.

    Args:
        near: the largest cosine of each text of dev with a centroid, float64 [texts].
        entropy: of its logits, in nats, float64 [texts].
        share: the standard deviation of the weighed entropy, in those of the cosine.
    """
    spread = float(entropy.std())
    return share * float(near.std()) / spread if spread > 0 else 0.0
