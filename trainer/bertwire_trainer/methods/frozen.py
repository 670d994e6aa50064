"""Feature extraction: the encoder stays as it is, and a linear layer is fitted on what it gives."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import Field

from bertwire_core.pooling import Pooling
from bertwire_core.tasks import TASKS
from bertwire_trainer.method import Fitted, Job, MethodOptions
from bertwire_trainer.tasks import SPECS

if TYPE_CHECKING:
    import numpy
    from numpy.typing import NDArray

    from bertwire_core.pooled import PooledClassifier


class FrozenOptions(MethodOptions):
    """How the linear layer is fitted."""

    strength: float | None = Field(
        None, gt=0, description="Strength of the L2 penalty: 1 / C of scikit-learn's. Unset: by cross-validation."
    )


class Frozen:
    """Fit the linear layer alone, on vectors that are computed once: seconds where full fine-tuning takes minutes."""

    Options = FrozenOptions
    # The head of other tasks reads tokens.
    tasks = frozenset(task for task in TASKS if not SPECS[task].by_word)
    pooling: Pooling | None = Pooling("mean")

    def fit(self, job: Job, options: FrozenOptions) -> Fitted:
        """Embed train, or read the vectors that an interrupted run has left, and fit the layer on them."""
        from bertwire_trainer.linear import fit_head

        model: PooledClassifier = job.model  # type: ignore[assignment]  # a method with a pooling gets this one
        fit_head(model, _vectors(job, model), job.data, job.seed, options.strength)
        return Fitted(model, job.tokenizer, None)


def _vectors(job: Job, model: "PooledClassifier") -> "NDArray[numpy.float32]":
    """Return what the linear layer reads of train, float32 [texts, size], kept in `job.epochs` for a resumed run."""
    import numpy
    import torch

    from bertwire_trainer.predict import embed

    kept = job.epochs / "vectors.npy"
    if kept.exists():
        found: NDArray[Any] = numpy.load(kept, allow_pickle=False)
        return found
    model.to("cuda" if torch.cuda.is_available() else "cpu")
    (vectors,) = embed(model, job.tokenizer, job.tokens["train"], "embed train")
    model.to("cpu")
    _save(kept, vectors)
    return vectors


def _save(path: Path, vectors: "NDArray[numpy.float32]") -> None:
    """Write the file whole or not at all."""
    import numpy

    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_suffix(".partial.npy")
    numpy.save(unfinished, vectors, allow_pickle=False)
    unfinished.replace(path)
