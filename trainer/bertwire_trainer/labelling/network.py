"""A model that texts are chosen by: a checkpoint of the trainer, or an encoder before there is one."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy
import torch
from numpy.typing import NDArray

from bertwire_core.pooled import Classifier, PooledClassifier, pool
from bertwire_data.labelled import Labelled
from bertwire_trainer.architecture import require_trainable
from bertwire_trainer.base import Base
from bertwire_trainer.labelling.rounds import Round
from bertwire_trainer.loading import load_model, position_limit
from bertwire_trainer.predict import batches, predict
from bertwire_trainer.tokenizer import load_tokenizer
from bertwire_trainer.tokens import TokenDataset, tokenize
from bertwire_trainer.trained import load_trained

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

Floats = NDArray[numpy.floating]

# Tokens that an encoder without a head reads of a text, as in training unless told otherwise; halved, what
# distinguishes long texts after their beginning is not seen.
_ENCODER_TOKENS = 128
# Passes with dropout whose spread tells how sure a number is; halved, the spread is a third less exact.
_PASSES = 8


@dataclass(frozen=True, slots=True)
class Network:
    """A model with what reads texts for it.

    Attributes:
        labels: label names in the order of the logits.
    """

    model: Classifier
    tokenizer: "PreTrainedTokenizerBase"
    labels: list[str]

    def logits(self, texts: Labelled, title: str) -> NDArray[numpy.float32]:
        """Return the logits, float32 [texts, or words of all texts, labels]; a word cut off has `outside_row`."""
        return predict(self.model, self.tokenizer, self._tokens(texts), self.labels, title)

    def vectors(self, texts: Labelled, title: str) -> NDArray[numpy.float32]:
        """Return the mean of the last layer's tokens of each text, scaled to length 1: float32 [texts, hidden]."""
        tokens = self._tokens(texts)
        found = numpy.zeros((len(tokens), self.model.config.hidden_size), numpy.float32)
        self.model.eval()
        with torch.inference_mode():
            for places, batch in batches(self.model, self.tokenizer, tokens, title):
                del batch["labels"]
                means = pool(self._last_layer(batch), batch["attention_mask"], "mean")
                found[places] = torch.nn.functional.normalize(means, dim=-1).cpu().numpy()
        return tokens.by_text(found)

    def spread(self, texts: Labelled, seed: int) -> NDArray[numpy.float64]:
        """Return the standard deviation of each text's number over passes with dropout: float64 [texts]."""
        tokens = self._tokens(texts)
        found = numpy.zeros((_PASSES, len(tokens)), numpy.float32)
        torch.manual_seed(seed)
        self.model.train()
        with torch.inference_mode():
            for number, one in enumerate(found, 1):
                for places, batch in batches(self.model, self.tokenizer, tokens, f"dropout {number}/{_PASSES}"):
                    del batch["labels"]
                    one[places] = self.model(**batch).logits.float().view(-1).cpu().numpy()
        self.model.eval()
        spread: NDArray[numpy.float64] = tokens.by_text(found.T).std(axis=1, dtype=numpy.float64)
        return spread

    def _last_layer(self, batch: dict[str, Any]) -> torch.Tensor:
        if isinstance(self.model, PooledClassifier):
            return self.model.encode(**batch)
        found: torch.Tensor = self.model(**batch, output_hidden_states=True).hidden_states[-1].float()
        return found

    def _tokens(self, texts: Labelled) -> TokenDataset:
        count = sum(texts.words() or ()) or len(texts)
        return tokenize(self.model, self.tokenizer, texts, numpy.zeros(count, numpy.int64))


def load_round(round_: Round) -> Network:
    """Load a checkpoint of the trainer; raise `UserError` where it is damaged."""
    return Network(*load_trained(round_.folder, round_.record), round_.record.labels)


def load_encoder(base: Base, texts: Labelled) -> Network:
    """Load an encoder, whose head is new and says nothing; raise `UserError` where it cannot be trained either."""
    require_trainable(base, texts.task)
    tokenizer = load_tokenizer(base, texts.task, "right")
    labels = ["0", "1"]
    model = load_model(base, texts.task, labels)
    tokenizer.model_max_length = min(_ENCODER_TOKENS, position_limit(model) or _ENCODER_TOKENS)
    model.to("cuda" if torch.cuda.is_available() else "cpu")  # type: ignore[arg-type]
    return Network(model, tokenizer, labels)
