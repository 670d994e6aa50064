"""How near vectors are to PyTorch's, and whether each text keeps its nearest neighbours."""

import numpy as np
from numpy.typing import NDArray

from bertwire_core.vectors import normalized
from bertwire_export.examples import Logits
from bertwire_runtime.bundle import Scores

# Nearest neighbours of a text that are compared. With half as many a text has fewer ways to differ.
_NEIGHBOURS = 10
# Texts whose neighbours are looked for, spread over all. With half as many a share is known half as finely.
_ASKED = 1000
# Rows of similarities computed at once; of 100,000 texts they are 200 MB.
_BLOCK = 256

Places = NDArray[np.int64]


def vector_scores(vectors: Logits, reference: Logits) -> Scores:
    """Return the mean and the least cosine with PyTorch's vectors, float32 [texts, dimensions] both, and `neighbours`.

    That is the share of the nearest texts of each text that are PyTorch's too; of one text alone there is none to keep.
    """
    cosines = (normalized(vectors.astype(np.float64)) * normalized(reference.astype(np.float64))).sum(axis=1)
    kept = nearest(vectors)[:, :, None] == nearest(reference)[:, None, :]
    share = float(kept.any(axis=2).mean()) if kept.size else 1.0
    return {"cosine": float(cosines.mean()), "least_cosine": float(cosines.min()), "neighbours": share}


def one_neighbour(vectors: Logits) -> float:
    """Return what one neighbour is worth: of two texts as near as each other rounding chooses."""
    return 1 / max(nearest(vectors).size, 1)


def nearest(vectors: Logits) -> Places:
    """Return the places of the nearest texts by cosine, int64 [asked texts, neighbours], without the text itself."""
    wide = normalized(vectors.astype(np.float64))
    count = min(_NEIGHBOURS, len(wide) - 1)
    asked = np.linspace(0, len(wide) - 1, min(_ASKED, len(wide))).astype(np.int64)
    found = []
    for block in np.split(asked, range(_BLOCK, len(asked), _BLOCK)):
        similar = wide[block] @ wide.T
        similar[np.arange(len(block)), block] = -np.inf
        found.append(np.argpartition(-similar, max(count - 1, 0), axis=1)[:, :count])
    return np.concatenate(found)
