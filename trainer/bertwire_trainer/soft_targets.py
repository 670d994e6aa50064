"""The loss of a model that learns from the soft targets of another, beside labels (Hinton et al., 2015)."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy
import torch
from numpy.typing import NDArray

from bertwire_core.tasks import Task
from bertwire_data.labelled import Labelled
from bertwire_trainer.tasks import SPECS
from bertwire_trainer.tasks.cross_entropy import IGNORED
from bertwire_trainer.tokens import TokenDataset, tokenize

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from bertwire_core.pooled import Classifier


@dataclass(frozen=True, slots=True)
class SoftTargets:
    """The summed loss, as `TaskSpec.loss`, of rows by their places; `place_tokens` gives a dataset with such targets.

    Attributes:
        task: the task.
        targets: the labels of the first rows, as `encode_targets` gives them; the rows after them have none.
        means: what a teacher says of each row, as `teach` gives it, of the first labels of the model.
        temperature: what the teacher's logits were divided by.
        soft_weight: weight of the divergence from the teacher, times the square of the temperature.
        hard_weight: weight of the task's own loss on rows with labels.
    """

    task: Task
    targets: NDArray[Any]
    means: NDArray[numpy.float32]
    temperature: float
    soft_weight: float
    hard_weight: float

    def __call__(
        self, logits: torch.Tensor, places: torch.Tensor, weights: torch.Tensor | None, smoothing: float
    ) -> torch.Tensor:
        """Return the summed loss, a scalar.

        Args:
            logits: floats [..., labels].
            places: the places of rows, int64 [...], those that do not count `IGNORED`; for several labels [texts,
                labels], each the place of the text.
            weights: class weights of the task's own loss, or None.
            smoothing: its label smoothing.
        """
        if SPECS[self.task].by_word:
            counted = places.ne(IGNORED)
            logits, places = logits[counted], places[counted]
        rows = (places[:, 0] if places.dim() > 1 else places).cpu().numpy()
        means = torch.from_numpy(numpy.asarray(self.means[rows])).to(logits.device)
        known = means.isfinite().all(dim=-1)
        asked = logits[:, : means.shape[-1]] / self.temperature
        apart = SPECS[self.task].apart(asked[known], means[known]).sum()
        labelled = rows < len(self.targets)
        targets = torch.from_numpy(self.targets[rows[labelled]]).to(logits.device)
        hard = SPECS[self.task].loss(logits[torch.from_numpy(labelled).to(logits.device)], targets, weights, smoothing)
        return self.soft_weight * self.temperature**2 * apart + self.hard_weight * hard


def place_tokens(
    model: "Classifier", tokenizer: "PreTrainedTokenizerBase", rows: Labelled, targets: NDArray[Any]
) -> TokenDataset:
    """Return rows as token ids that have as labels their places among all rows, or all words.

    The places have the shape of `targets` beside the first axis, so that the loop counts as many as without teacher.
    """
    count = len(rows) if (words := rows.words()) is None else sum(words)
    places = numpy.arange(count).reshape(count, *[1] * (targets.ndim - 1))
    return tokenize(model, tokenizer, rows, numpy.broadcast_to(places, (count, *targets.shape[1:])))
