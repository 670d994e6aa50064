"""What an encoder learns from texts without labels."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from transformers import DataCollatorForLanguageModeling, DataCollatorWithPadding

from bertwire_core.errors import UserError
from bertwire_core.pooled import pool
from bertwire_trainer.masked import NoMaskedHead, load_masked
from bertwire_trainer.messages import note
from bertwire_trainer.method import Job
from bertwire_trainer.tasks.cross_entropy import IGNORED, cross_entropy

# Share of the tokens to predict, BERT's own. Halved, an epoch teaches about half as much.
_MASKED = 0.15
# SimCSE's own; cosine similarities are divided by it. Halved, only the nearest other texts are pushed away.
_TEMPERATURE = 0.05


@dataclass(frozen=True, slots=True)
class Objective:
    """An objective.

    Attributes:
        name: its name in training.json.
        model: what is trained.
        encoder: the part of it that the job's encoder takes the weights of.
        collate: makes a batch of rows with `input_ids`.
        loss: the loss of the model's outputs and the batch's labels; None: the model returns it.
    """

    name: str
    model: nn.Module
    encoder: nn.Module
    collate: Callable[[list[dict[str, Any]]], Any]
    loss: Callable[..., torch.Tensor] | None


def choose_objective(job: Job) -> Objective:
    """Return masked language modelling where the base has the head for it, else SimCSE; a note says which and why.

    Raises:
        UserError: the base has neither the head nor dropout, without which SimCSE has nothing to learn.
    """
    try:
        model = load_masked(job.base, job.tokenizer)
    except NoMaskedHead as reason:
        return _simcse(job, reason)
    note(f"adapt: masked language modelling, for {job.base.name} has the head for it")
    collate = DataCollatorForLanguageModeling(job.tokenizer, mlm_probability=_MASKED)
    return Objective("masked language modelling", model, model.base_model, collate, _masked_loss)


def _masked_loss(outputs: Any, labels: torch.Tensor, **_: object) -> torch.Tensor:  # noqa: ANN401 - of any model
    # Of a few short texts it can happen that no token is masked, and the mean over none is not a number.
    masked = labels.ne(IGNORED).sum().clamp(min=1)
    return cross_entropy(outputs["logits"].float(), labels, None, 0.0) / masked


def _simcse(job: Job, reason: NoMaskedHead) -> Objective:
    encoder = job.model.base_model
    if not any(isinstance(layer, nn.Dropout) and layer.p > 0 for layer in encoder.modules()):
        raise UserError(
            f"--adapt: {reason}, and its encoder has no dropout, which SimCSE needs; choose another --model"
        )
    note(f"adapt: SimCSE, for {reason}")
    return Objective("SimCSE", _Contrast(encoder), encoder, DataCollatorWithPadding(job.tokenizer), None)


class _Contrast(nn.Module):
    """Unsupervised SimCSE (arXiv 2104.08821): a text is nearer to itself under another dropout than to other texts."""

    def __init__(self, encoder: nn.Module) -> None:
        super().__init__()
        self.encoder = encoder

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> dict[str, torch.Tensor]:
        """Return the `loss` of texts, int64 [texts, tokens]."""
        one, other = (self._embedded(input_ids, attention_mask) for _ in range(2))
        similarity = one @ other.T / _TEMPERATURE
        return {"loss": nn.functional.cross_entropy(similarity, torch.arange(len(one), device=one.device))}

    def _embedded(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
        """Return the mean over the tokens of each text, of length 1: float32 [texts, hidden]."""
        tokens = self.encoder(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state.float()
        return nn.functional.normalize(pool(tokens, attention_mask, "mean"), dim=-1)
