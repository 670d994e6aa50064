"""The measure by which a model abstains: how much a text looks like those of its labels. Needs numpy."""

from dataclasses import dataclass
from io import BytesIO
from math import prod
from tokenize import TokenError

import numpy
from numpy.lib import format as npy
from numpy.typing import NDArray

from bertwire_core.vectors import Floats, norms

# The file of the centroids, in a checkpoint and in a bundle.
SCOPE = "scope.npy"
# The reader of the header of each version of the format that is written for arrays of numbers.
_HEADERS = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}


@dataclass(frozen=True, slots=True)
class Scope:
    """When a model abstains.

    Attributes:
        centroids: of the texts of each label, normalized: float32 [centroids, hidden].
        entropy_weight: what a nat of the labels' entropy takes from the scope.
        threshold: least scope of a text that the model decides for.
    """

    centroids: NDArray[numpy.float32]
    entropy_weight: float
    threshold: float

    @property
    def hidden(self) -> int:
        """Return the size of a vector."""
        return int(self.centroids.shape[1])

    def split(self, rows: NDArray[numpy.float32]) -> tuple[NDArray[numpy.float32], NDArray[numpy.float32]]:
        """Return logits and vectors of what a graph gives for texts: both in one row, [..., labels + hidden]."""
        return rows[..., : -self.hidden], rows[..., -self.hidden :]

    def refuses(self, rows: NDArray[numpy.float32]) -> NDArray[numpy.bool_]:
        """Return whether the model abstains, bool [...], from texts with logits and vectors [..., labels + hidden]."""
        return scopes(*self.split(rows), self.centroids, self.entropy_weight) < self.threshold


def scopes(
    logits: Floats, vectors: Floats, centroids: NDArray[numpy.float32], entropy_weight: float
) -> NDArray[numpy.float64]:
    """Return the scope of each text, float64 [...]; texts of other kinds than those of train have less of it.

    Args:
        logits: [..., labels], without temperature.
        vectors: what the linear layer reads, [..., hidden].
        centroids: normalized, [centroids, hidden].
        entropy_weight: what a nat of entropy takes from the cosine.
    """
    return cosines(vectors, centroids) - entropy_weight * entropies(logits)


def cosines(vectors: Floats, centroids: NDArray[numpy.float32]) -> NDArray[numpy.float64]:
    """Return the largest cosine of each vector, [..., hidden], with a centroid: float64 [...]."""
    found: NDArray[numpy.float64] = (vectors @ centroids.T).max(axis=-1) / norms(vectors)
    return found


def entropies(logits: Floats) -> NDArray[numpy.float64]:
    """Return the entropy of the softmax of logits, [..., labels], in nats: float64 [...]."""
    wide = logits.astype(numpy.float64)
    shifted = wide - wide.max(axis=-1, keepdims=True)
    weights = numpy.exp(shifted)
    total = weights.sum(axis=-1)
    found: NDArray[numpy.float64] = numpy.log(total) - (weights * shifted).sum(axis=-1) / total
    return found


def write_centroids(centroids: NDArray[numpy.float32]) -> bytes:
    """Return the content of the file of centroids, float32 [centroids, hidden]."""
    file = BytesIO()
    numpy.save(file, centroids, allow_pickle=False)
    return file.getvalue()


def read_centroids(content: bytes) -> NDArray[numpy.float32]:
    """Return the centroids of a file; raise `ValueError` where it holds anything but finite float32 [some, hidden]."""
    file = BytesIO(content)
    try:
        # `load` would unpack archives, and reserve memory for whatever shape the header names.
        read = _HEADERS[npy.read_magic(file)]
        shape, fortran_order, dtype = read(file)
    except (ValueError, KeyError, SyntaxError, TokenError) as error:
        raise ValueError("is no array of numpy") from error
    if dtype != numpy.float32 or len(shape) != 2 or not all(each > 0 for each in shape):
        raise ValueError("is no float32 array of centroids")
    if prod(shape) * dtype.itemsize != len(content) - file.tell():
        raise ValueError("is no whole array of centroids: its length is not that of its shape")
    found = numpy.frombuffer(content, dtype, offset=file.tell()).reshape(shape, order="F" if fortran_order else "C")
    if not numpy.isfinite(found).all():
        raise ValueError("has numbers that are not finite")
    return found
