"""Vectors of texts, cut to fewer dimensions."""

from bertwire_core.vectors import normalized
from bertwire_runtime.bundle.manifest import Manifest
from bertwire_runtime.output import Floats, Output


def resized(vector: Floats, dimensions: int | None = None, *, normalize: bool) -> Floats:
    """Return the first `dimensions` of a vector (None: all), divided by their Euclidean norm where `normalize` is on.

    Models that were trained for it (Matryoshka representation learning, Kusupati et al., 2022) lose little by the cut.

    Args:
        vector: float32 [dimensions].
        dimensions: at least 1; above the vector's own it has no effect.
        normalize: whether the result has the norm 1.
    """
    cut = vector[:dimensions]
    if not normalize:
        return cut
    return normalized(cut)


def vector_of(manifest: Manifest, output: Output, dimensions: int | None = None, *, normalize: bool = False) -> Floats:
    """Return the vector of a text, float32 [dimensions], cut to `dimensions` where these are fewer.

    Args:
        manifest: of the model, which gives embeddings. What is left of its vectors is normalized again where it
            normalizes.
        output: the model's for the text.
        dimensions: at least 1; None: all.
        normalize: whether to normalize the vectors of a model that does not.
    """
    own = manifest.embedding
    assert own is not None  # noqa: S101 - asked of models with embeddings only
    assert output.embedding is not None  # noqa: S101
    cut = dimensions is not None and dimensions < own.dimensions
    return resized(output.embedding, dimensions, normalize=cut if own.normalize else normalize)
